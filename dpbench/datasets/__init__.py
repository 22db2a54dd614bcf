"""Built-in data sets: MNIST, Fashion-MNIST, and a user's own images."""

from dpbench.datasets.summary import describe

__all__ = ["describe"]

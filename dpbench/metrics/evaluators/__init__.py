"""Networks that turn images into the features and logits that metrics compare."""

from dpbench.metrics.evaluators.base import evaluate

__all__ = ["evaluate"]

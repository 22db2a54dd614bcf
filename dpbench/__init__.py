"""Benchmark harness for differentially private image generation in latent space."""

from dpbench.hookspecs import hookimpl

__all__ = ["__version__", "hookimpl"]
__version__ = "0.1.0"

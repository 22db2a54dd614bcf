"""Networks that turn images into the features and logits that metrics compare."""

from dpbench.metrics.evaluators.base import Evaluator, evaluate, state_sha256

__all__ = ["Evaluator", "evaluate", "state_sha256"]

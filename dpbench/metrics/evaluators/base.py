"""The one pass of images through an evaluator."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dpbench.api import Evaluator
from dpbench.precision import full_precision

__all__ = ["evaluate", "evaluate_parts"]

#: About as many images as one part of a streamed pass holds.
PART = 4096


@torch.inference_mode()
def evaluate(evaluator: Evaluator, images: Tensor) -> tuple[Tensor, Tensor]:
    """Stream ``images`` through ``evaluator``, a batch at a time.

    Args:
        images: ``uint8`` ``[N, C, H, W]`` on any device; memory beyond the
            results is that of one batch.

    Returns:
        Features ``[N, D]`` and logits ``[N, K]``, ``float32`` on the CPU.
    """
    features = torch.empty(len(images), evaluator.feature_dim)
    logits = torch.empty(len(images), evaluator.classes)
    with full_precision():
        for start in range(0, len(images), evaluator.batch_size):
            batch = images[start : start + evaluator.batch_size].to(evaluator.device)
            end = start + len(batch)
            features[start:end], logits[start:end] = evaluator(batch)
    return features, logits


def evaluate_parts(evaluator: Evaluator, images: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield rows, features and logits of ``images`` a few thousand at a time.

    The numbers are those of :func:`evaluate`: parts are cut between its batches.
    """
    step = evaluator.batch_size * max(1, PART // evaluator.batch_size)
    for start in range(0, len(images), step):
        rows = slice(start, min(start + step, len(images)))
        yield rows, *evaluate(evaluator, images[rows])

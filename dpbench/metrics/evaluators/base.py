"""What an evaluator is, and the one pass of images through it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from dpbench.precision import full_precision

__all__ = ["Evaluator", "evaluate", "evaluate_parts", "state_sha256"]

#: About as many images as one part of a streamed pass holds.
PART = 4096


class Evaluator(ABC):
    """A fixed network: ``uint8`` images to features and class logits.

    Attributes:
        name: ``"domain"`` or ``"inception"``; part of every score's protocol.
        weights_sha256: hash of the weights, hexadecimal.
        feature_dim: D, the length of a feature vector.
        classes: K, the number of logits.
        batch_size: images per forward pass; fixed, since features shift
            slightly with it.
    """

    name: str
    weights_sha256: str
    feature_dim: int
    classes: int
    batch_size: int
    network: nn.Module
    device: torch.device = torch.device("cpu")

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``uint8`` images ``[B, C, H, W]`` to features ``[B, D]`` and logits ``[B, K]``."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what must be equal for two scores to be comparable, as JSON values."""

    def to(self, device: torch.device | str) -> Self:
        """Move the network to ``device`` and return the evaluator."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self


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


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash named tensors: names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

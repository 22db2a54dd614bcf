"""Networks that turn images into the features and logits that metrics compare."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from dpbench.api.context import Context
from dpbench.api.images import LabelledImages
from dpbench.api.plugin import Plugin

__all__ = ["Evaluator", "Weights", "state_sha256"]


class Weights(NamedTuple):
    """A file of released weights and its SHA-256, hexadecimal."""

    path: Path
    sha256: str


class Evaluator(Plugin, ABC):
    """A fixed network: ``uint8`` images to features and class logits.

    One that is trained on a data set's labelling images implements :meth:`fit`,
    :meth:`state` and :meth:`restore`; one with released weights implements
    :meth:`weights` and :meth:`load`. All other attributes are set by the class, or by
    whichever of these made the evaluator ready.

    Attributes:
        weights_sha256: hash of the weights, hexadecimal: of the released file, or
            :func:`state_sha256` of the trained tensors.
        feature_dim: D, the length of a feature vector.
        classes: K, the number of logits.
        batch_size: images per forward pass; fixed, since features shift
            slightly with it.
        network: what :meth:`to` moves, in evaluation mode.
        test_accuracy: of one that is trained: the share of test images that it labels
            correctly. Where it is set and near chance, the harness refuses the evaluator.
    """

    kind = "evaluator"
    weights_sha256: str
    feature_dim: int
    classes: int
    batch_size: int
    network: nn.Module
    test_accuracy: float
    device: torch.device = torch.device("cpu")

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``uint8`` images ``[B, C, H, W]`` to features ``[B, D]`` and logits ``[B, K]``."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what must be equal for two scores to be comparable, as JSON values.

        Name and hash of the weights are stored with every score anyway.
        """

    def fit(
        self,
        labelling: LabelledImages,
        test: LabelledImages,
        private_classes: tuple[int, ...],
        context: Context,
    ) -> None:
        """Learn from labelled images of all classes; ``test`` only tells how well.

        These four, the hyperparameters and the code are all that it may depend on: they
        name the result.
        """
        raise NotImplementedError(f"{self.name} is not trained")

    def state(self) -> dict[str, Tensor]:
        """Return everything :meth:`restore` needs, as named CPU tensors."""
        raise NotImplementedError(f"{self.name} is not trained")

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        raise NotImplementedError(f"{self.name} is not trained")

    @classmethod
    def weights(cls, params: Any, given: Path | None, cache: Path) -> Weights | None:
        """Find the released weights before anything is trained; ``None``: there are none.

        Args:
            given: a file that the user names instead.
            cache: directory for what is fetched.

        Raises:
            DpbenchError: they cannot be had, or are not the released ones; with the remedy.
        """
        return None

    def load(self, weights: Path) -> None:
        """Read the released weights.

        Raises:
            DpbenchError: the file is not what it was.
        """
        raise NotImplementedError(f"{self.name} has no released weights")

    def to(self, device: torch.device | str) -> Self:
        """Move the network to ``device`` and return the evaluator."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Hash named tensors: names, types, shapes and bytes, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()

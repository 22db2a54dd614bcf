"""Images under an evaluator, and the references they are scored against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators.base import Evaluator, evaluate
from dpbench.metrics.frechet import Statistics

__all__ = ["Reference", "References", "View"]

Reference = Literal["private-train", "private-test"]
T = TypeVar("T")


class View:
    """A set of images as one evaluator sees them.

    Features and logits come from one forward pass, made when either is first
    asked for; or from a cache, when they are given.

    Args:
        images: ``uint8`` ``[N, C, H, W]``, real or generated, quantised by
            :func:`dpbench.api.to_uint8`.
        evaluator: makes features and logits; may be left out when both are given.
        features: ``float32`` ``[N, D]``, computed before by the same evaluator.
        logits: ``float32`` ``[N, K]``, likewise.
        labels: true classes, ``int64`` ``[N]``, where they are known.
    """

    def __init__(
        self,
        images: Tensor,
        evaluator: Evaluator | None = None,
        *,
        features: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DpbenchError(
                f"images to score are {images.dtype} of shape {tuple(images.shape)}, "
                "not uint8 [N, C, H, W]: quantise them with dpbench.api.to_uint8"
            )
        self.images = images
        self.evaluator = evaluator
        self.labels = labels
        self._features, self._logits = features, logits
        self._others: dict[str, View] = {}

    def __len__(self) -> int:
        return len(self.images)

    @property
    def features(self) -> Tensor:
        """Features, ``float32`` ``[N, D]`` on the CPU."""
        return self._evaluated()[0]

    @property
    def logits(self) -> Tensor:
        """Class logits, ``float32`` ``[N, K]`` on the CPU."""
        return self._evaluated()[1]

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and covariance of the features, in float64; on the evaluator's CUDA device."""
        device = self.evaluator.device if self.evaluator is not None else None
        on_cuda = device is not None and device.type == "cuda"
        return Statistics.of(self.features, device if on_cuda else None)

    def under(self, evaluator: Evaluator) -> View:
        """Return the same images under another evaluator, remembered by its weights."""
        if self.evaluator is not None and self.evaluator.weights_sha256 == evaluator.weights_sha256:
            return self
        key = evaluator.weights_sha256
        if key not in self._others:
            self._others[key] = View(self.images, evaluator, labels=self.labels)
        return self._others[key]

    def _evaluated(self) -> tuple[Tensor, Tensor]:
        if self._features is None or self._logits is None:
            if self.evaluator is None:
                raise DpbenchError(
                    "this view has neither features nor an evaluator to compute them"
                )
            self._features, self._logits = evaluate(self.evaluator, self.images)
        return self._features, self._logits


@dataclass
class References:
    """What generated images are scored against; one per protocol and data set.

    Attributes:
        private_train: all private training images.
        private_test: held-out test images of the private classes, with labels.
        private_classes: labels of the private classes.
        labeller: the labelling classifier. Class shares and downstream accuracy
            need its logits even where the protocol's evaluator is Inception.
        primary_name: which reference the protocol names.
        calibration: images of the private classes that are in neither private
            part (those of the labelling partition), for the leakage attack.
    """

    private_train: View
    private_test: View
    private_classes: tuple[int, ...]
    labeller: Evaluator
    primary_name: Reference = "private-train"
    calibration: View | None = None
    _memory: dict[str, object] = field(default_factory=dict, repr=False)

    @property
    def primary(self) -> View:
        """The reference that the protocol names."""
        return self.private_train if self.primary_name == "private-train" else self.private_test

    def label(self, view: View) -> Tensor:
        """Return the labelling classifier's class of each image, ``int64`` ``[N]``."""
        return view.under(self.labeller).logits.argmax(1)

    def remember(self, key: str, compute: Callable[[], T]) -> T:
        """Return ``compute()``, computed once per ``key``: what all trials share."""
        if key not in self._memory:
            self._memory[key] = compute()
        return self._memory[key]  # type: ignore[return-value]  # equal keys, equal types

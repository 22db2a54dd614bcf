"""Images under an evaluator, and the references they are scored against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeVar

import torch
from torch import Tensor

from dpbench.api import Evaluator
from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators.base import evaluate, evaluate_parts
from dpbench.metrics.frechet import Moments, Statistics

__all__ = ["KEPT", "Reference", "References", "View", "kept_rows"]

Reference = Literal["private-train", "private-test"]
T = TypeVar("T")

#: Images of a reference set whose features are held; more are drawn from at random.
KEPT = 50_000


def kept_rows(count: int, most: int) -> Tensor:
    """Choose which of ``count`` images a view holds: all, or ``most`` at random, in order."""
    if count <= most:
        return torch.arange(count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(2020))
    return order[:most].sort().values


class View:
    """A set of images as one evaluator sees them.

    Features and logits come from one forward pass, made when either is first
    asked for; or from a cache, when they are given.

    ``images``, ``features``, ``logits`` and ``labels`` always hold the same ``len(view)``
    images in the same order. A view of a set too large to hold (:meth:`sampled`) has
    ``statistics`` of the whole set, and a random sample of it in everything else;
    ``population`` is the size of the set.

    Args:
        images: ``uint8`` ``[N, C, H, W]``, real or generated, quantised by
            :func:`dpbench.api.to_uint8`.
        evaluator: makes features and logits; may be left out when both are given.
        features: ``float32`` ``[N, D]``, computed before by the same evaluator.
        logits: ``float32`` ``[N, K]``, likewise.
        labels: true classes, ``int64`` ``[N]``, where they are known.
        moments: of the features of the whole set, where they are known.
    """

    def __init__(
        self,
        images: Tensor,
        evaluator: Evaluator | None = None,
        *,
        features: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        moments: Moments | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DpbenchError(
                f"images to score are {images.dtype} of shape {tuple(images.shape)}, "
                "not uint8 [N, C, H, W]: quantise them with dpbench.api.to_uint8"
            )
        self.images = images
        self.evaluator = evaluator
        self.labels = labels
        self.moments = moments
        self._features, self._logits = features, logits
        self._others: dict[str, View] = {}

    @classmethod
    def sampled(
        cls,
        images: Tensor,
        evaluator: Evaluator,
        *,
        labels: Tensor | None = None,
        most: int | None = None,
    ) -> View:
        """Pass all ``images`` through ``evaluator`` now; hold at most ``most`` (``KEPT``) of them.

        Statistics are those of all images. Memory beyond ``images`` is that of the
        images held and one part of a few thousand; up to ``most`` images are all held.
        """
        rows = kept_rows(len(images), KEPT if most is None else most)
        keep = torch.zeros(len(images), dtype=torch.bool)
        keep[rows] = True
        features = torch.empty(len(rows), evaluator.feature_dim)
        logits = torch.empty(len(rows), evaluator.classes)
        on_cuda = evaluator.device.type == "cuda"
        moments = Moments.empty(evaluator.feature_dim, evaluator.device if on_cuda else "cpu")
        filled = 0
        for part, all_features, all_logits in evaluate_parts(evaluator, images):
            moments.add(all_features)
            chosen = keep[part]
            place = slice(filled, filled + int(chosen.sum()))
            features[place], logits[place] = all_features[chosen], all_logits[chosen]
            filled = place.stop
        if len(rows) < len(images):
            images = images[rows]
            labels = None if labels is None else labels[rows]
        return cls(
            images, evaluator, features=features, logits=logits, labels=labels, moments=moments
        )

    def __len__(self) -> int:
        """Count the images held."""
        return len(self.images)

    @property
    def population(self) -> int:
        """How many images the set has, of which ``len(self)`` are held."""
        return len(self) if self.moments is None else self.moments.count

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
        """Mean and covariance of the features of the whole set, also of images not held.

        In float64; on the evaluator's CUDA device.
        """
        device = self.evaluator.device if self.evaluator is not None else None
        if device is not None and device.type != "cuda":
            device = None
        if self.moments is not None:
            return self.moments.statistics(device)
        return Statistics.of(self.features, device)

    def under(self, evaluator: Evaluator) -> View:
        """Return the images held under another evaluator, remembered by its weights."""
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

    Of a set of more than ``KEPT`` images the view holds a fixed random sample of
    that many (``len(view)``, out of ``view.population``); its ``statistics`` are
    those of all.

    Attributes:
        private_train: the private training images.
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

"""Private generators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dpbench.api.context import Context
from dpbench.api.plugin import Plugin
from dpbench.api.public_model import Capability

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents

__all__ = ["PrivateGenerator"]


class PrivateGenerator(Plugin, ABC):
    """Learns the distribution of private latents under (epsilon, delta)-DP.

    :meth:`fit` receives the private latents behind a handle that clips, adds
    noise and keeps the ledger, and public latents as a plain tensor. Both are
    standardised by public statistics: public latents have mean 0 and, by
    default, identity covariance, so radii and learning rates carry over.

    Attributes:
        label: the generator's part of a method's name (``ae-enc-GAN``).
        requires: capabilities that the public model must provide; most need none.
        lane_params: hyperparameters in which trials trained together by
            :meth:`fit_lanes` may differ; all others are equal within a group.
        conditional: whether it learns from labelled records by itself. Its constructor
            then takes ``classes``, and :meth:`sample` ``labels``, int64 ``[count]`` in
            ``0..classes-1``, where that is more than 1. Any other generator is trained
            once for each class.
        classes: number of classes; 1 where records have no labels.
    """

    kind = "generator"
    label: ClassVar[str]
    requires: ClassVar[frozenset[Capability]] = frozenset()
    lane_params: ClassVar[frozenset[str]] = frozenset()
    conditional: ClassVar[bool] = False

    def __init__(self, params: Any, latent_dim: int, classes: int = 1) -> None:
        self.params = params
        self.latent_dim = latent_dim
        self.classes = classes

    @classmethod
    def label_of(cls, params: Any) -> str:
        """Return the label under these hyperparameters: one that names what they add."""
        return cls.label

    @abstractmethod
    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Learn from ``private`` through its handle; ``public`` is ``[M, d]``."""

    @abstractmethod
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ``count`` latents, ``[count, d]``, on the CPU; no privacy cost."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return everything :meth:`sample` needs, as named CPU tensors."""

    @abstractmethod
    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state` on a fresh instance."""

    @classmethod
    def fit_lanes(
        cls,
        generators: Sequence[PrivateGenerator],
        privates: Sequence[PrivateLatents],
        public: Tensor,
        contexts: Sequence[Context],
    ) -> None:
        """Fit several trials of one architecture; override to train them as one.

        The default fits one after the other. An override must give each lane
        the numbers it would have had alone.
        """
        for generator, private, context in zip(generators, privates, contexts, strict=True):
            generator.fit(private, public, context)

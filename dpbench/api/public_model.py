"""Models learned on public images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dpbench.api.context import Context
from dpbench.api.plugin import Plugin
from dpbench.errors import DpbenchError

__all__ = ["Capability", "PublicModel"]


Capability = Literal["encode", "decode", "prior", "pixels"]


class PublicModel(Plugin, nn.Module, ABC):
    """A model learned on public images only; a ``torch.nn.Module``.

    Build all modules in ``__init__`` so that ``load_state_dict`` restores a
    fitted model. Declare in ``provides`` what it can do:

    * ``decode``: latents to images, differentiable;
    * ``encode``: images to latents, each image by itself;
    * ``prior``: latents follow N(0, I), so ``decode(randn)`` gives images;
    * ``pixels``: latents are the pixels in ``[0, 1]``, flattened; ``decode`` gives them their
      shape.
    """

    kind = "public"
    provides: ClassVar[frozenset[Capability]]
    latent_dim: int

    def __init__(self, params: Any, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.params = params
        self.image_shape = image_shape

    @abstractmethod
    def fit(self, images: Tensor, context: Context) -> None:
        """Learn from public ``images`` (uint8 ``[N, C, H, W]``)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Map latents ``[B, d]`` to images ``[B, C, H, W]`` in ``[0, 1]``."""

    def encode(self, x: Tensor) -> Tensor:
        """Map images ``[B, C, H, W]`` in ``[0, 1]`` to latents ``[B, d]``."""
        raise DpbenchError(f"public model {self.name!r} cannot encode")

    def guess(self, x: Tensor) -> Tensor | None:
        """Return where an inversion of images ``x`` may start, ``[B, d]``, or ``None``."""
        return self.encode(x) if "encode" in self.provides else None

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean ``[d]`` and precision ``[d, d]`` of the latents of public images.

        The default is that of the prior N(0, I).
        """
        device = next(self.parameters()).device
        return torch.zeros(self.latent_dim, device=device), torch.eye(
            self.latent_dim, device=device
        )

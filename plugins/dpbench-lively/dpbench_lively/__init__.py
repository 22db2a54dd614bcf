"""An autoencoder whose images move a little: what few latents cannot hold is drawn, not learned.

A generator under privacy says coarsely where latents lie, and its images are more alike than
real ones. How images move (turn, stretch, lean, shift, bend) is no secret: it is drawn when a
latent becomes an image, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Params, PublicModel
from dpbench.public.ae import Autoencoder, AutoencoderParams
from dpbench_lively.moves import NUMBERS, Moves

__all__ = ["LivelyAutoencoder", "LivelyParams", "register_public_models"]

_FINE = 1e4
"""Turns per unit of a latent: two latents that differ in the fourth digit move differently."""


class LivelyParams(AutoencoderParams):
    """Those of ``ae``, and how far images move."""

    moves: Moves = Field(default=Moves(), description="ranges, each drawn from uniformly")


class LivelyAutoencoder(Autoencoder):
    """Decodes as ``ae`` for whoever descends by a latent, else moves the image besides.

    How an image moves depends on its latent alone, by digits too far behind to mean
    anything: the same latent gives the same image, at any time and in any batch.
    """

    name = "lively"
    Params: ClassVar[type[Params]] = LivelyParams
    version = "0.1.0"
    params: LivelyParams
    turns: Tensor

    def __init__(self, params: LivelyParams, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        rng = torch.Generator().manual_seed(0)
        turns = torch.randn(self.latent_dim, NUMBERS, generator=rng, dtype=torch.float64)
        self.register_buffer("turns", _FINE * turns, persistent=False)

    def decode(self, z: Tensor) -> Tensor:
        """Map latents ``[B, d]`` to images ``[B, C, H, W]`` in [0, 1]."""
        images = super().decode(z)
        if self.training or z.requires_grad:
            return images
        # float64: what a batch's other rows do to the last digit must not turn the image
        fate = (z.double() @ self.turns).frac().abs()
        return self.params.moves(images, fate.to(images))


@hookimpl
def register_public_models(register: Callable[[type[PublicModel]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(LivelyAutoencoder)

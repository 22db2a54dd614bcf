"""An autoencoder whose images are sharpened and grained, each to another degree.

Decoded images lack fine detail, all to the same degree; classifiers that learn from them look
for none. A random part of what a blur would take away, added, and random grain, teach them
that images may be sharper or rougher than a decoder's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from dpbench import hookimpl
from dpbench.api import PublicModel
from dpbench.public.ae import Autoencoder, AutoencoderParams

__all__ = ["CrispAutoencoder", "CrispParams", "register_public_models"]

_FINE = 1e4
"""Turns per unit of a latent: two that differ in the fourth digit have different grain."""
_BLUR = 9
"""Width in pixels of a blur's kernel, whose standard deviation is one pixel."""


class CrispParams(AutoencoderParams):
    """Those of ``ae``, and how images are changed, each by a share drawn uniformly."""

    sharpen: float = Field(1.0, ge=0, description="times what a blur of one pixel takes away")
    grain: float = Field(0.08, ge=0, le=1, description="standard deviation of noise on [0, 1]")


class CrispAutoencoder(Autoencoder):
    """Decodes as ``ae`` for whoever descends by a latent, else sharpens and grains besides.

    By how much, and the grain, depend on an image's latent alone, by digits too far behind
    to mean anything: the same latent gives the same image, at any time and in any batch.
    """

    name = "crisp"
    Params = CrispParams
    version = "0.1.0"
    params: CrispParams
    turns: Tensor

    def __init__(self, params: CrispParams, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        rng = torch.Generator().manual_seed(0)
        numbers = 2 + math.prod(image_shape)
        turns = torch.randn(self.latent_dim, numbers, generator=rng, dtype=torch.float64)
        self.register_buffer("turns", _FINE * turns, persistent=False)

    def decode(self, z: Tensor) -> Tensor:
        """Map latents ``[B, d]`` to images ``[B, C, H, W]`` in [0, 1]."""
        images = super().decode(z)
        if self.training or z.requires_grad:
            return images
        # float64: what a batch's other rows do to the last digit must not change the image
        fate = (z.double() @ self.turns).frac().abs().to(images)
        shares, grain = fate[:, :2, None, None, None], fate[:, 2:].view_as(images)
        detail = images - gaussian_blur(images, [_BLUR, _BLUR], [1.0, 1.0])
        noise = (2 * grain - 1) * math.sqrt(3)
        images = images + self.params.sharpen * shares[:, 0] * detail
        return (images + self.params.grain * shares[:, 1] * noise).clamp(0, 1)


@hookimpl
def register_public_models(register: Callable[[type[PublicModel]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(CrispAutoencoder)

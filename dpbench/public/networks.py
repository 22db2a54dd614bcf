"""Encoders and decoders for images of any channel count, from 16 x 16 up."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["ConvDecoder", "ConvEncoder", "DenseDecoder", "dense_encoder"]

ImageShape = tuple[int, int, int]
SLOPE = 0.2


class ConvEncoder(nn.Module):
    """Images ``[N, C, H, W]`` to ``[N, outputs]``: two strided convolutions, two linear layers."""

    def __init__(self, shape: ImageShape, outputs: int, width: int, hidden: int) -> None:
        super().__init__()
        channels, height, wide = shape
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            nn.Linear(2 * width * (height // 2 // 2) * (wide // 2 // 2), hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, outputs),
        )

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.body(images)
        return out


class ConvDecoder(nn.Module):
    """Latents ``[N, d]`` to images in [0, 1]; mirrors :class:`ConvEncoder`, crops to size."""

    def __init__(self, shape: ImageShape, latent: int, width: int, hidden: int) -> None:
        super().__init__()
        self.shape = shape
        self.canvas = (2 * width, math.ceil(shape[1] / 4), math.ceil(shape[2] / 4))
        self.dense = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.LeakyReLU(SLOPE),
            nn.Linear(hidden, math.prod(self.canvas)),
            nn.LeakyReLU(SLOPE),
        )
        self.conv = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.ConvTranspose2d(width, shape[0], 4, stride=2, padding=1),
        )

    def forward(self, latents: Tensor) -> Tensor:
        canvas: Tensor = self.conv(self.dense(latents).view(-1, *self.canvas))
        return canvas[..., : self.shape[1], : self.shape[2]].sigmoid()


def dense_encoder(shape: ImageShape, outputs: int, layers: Sequence[int]) -> nn.Sequential:
    """Images to ``[N, outputs]`` through fully connected ``layers``."""
    return nn.Sequential(nn.Flatten(), *_dense([math.prod(shape), *layers, outputs]))


class DenseDecoder(nn.Module):
    """Latents to images in [0, 1] through fully connected ``layers``."""

    def __init__(self, shape: ImageShape, latent: int, layers: Sequence[int]) -> None:
        super().__init__()
        self.shape = shape
        self.body = nn.Sequential(*_dense([latent, *layers, math.prod(shape)]))

    def forward(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self.body(latents)
        return pixels.sigmoid().view(-1, *self.shape)


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.LeakyReLU(SLOPE)]
    return layers[:-1]

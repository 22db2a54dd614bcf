"""Small affine maps and bends of images, drawn from numbers in [0, 1) that come with each."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Params

__all__ = ["NUMBERS", "Moves"]

_KNOTS = 5
"""Points each way at which a bend is drawn; between them it is smooth."""
NUMBERS = 6 + 2 * _KNOTS**2
"""Uniform numbers that an image's moves take."""


class Moves(Params):
    """Ranges, both ways, of what is drawn uniformly for each image."""

    rotation: float = Field(10.0, ge=0, le=180, description="degrees")
    scale: float = Field(0.1, ge=0, le=1, description="logarithm of the factor along each axis")
    shear: float = Field(0.1, ge=0, le=1, description="fraction")
    shift: float = Field(0.035, ge=0, le=0.5, description="fraction of the image's side")
    bend: float = Field(
        0.03, ge=0, le=0.5, description="the same, of each of five by five points by itself"
    )

    def __call__(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Move ``images`` ``[N, C, H, W]`` by ``numbers`` ``[N, NUMBERS]`` in [0, 1).

        What comes from outside is the image's border.
        """
        drawn = 2 * numbers - 1
        angle, shear, wide, high, right, down = drawn[:, :6].unbind(1)
        angle, shear = angle * math.radians(self.rotation), shear * self.shear
        wide, high = (wide * self.scale).exp(), (high * self.scale).exp()
        cos, sin = angle.cos(), angle.sin()
        # affine_grid spans [-1, 1]: a fraction of the side counts twice
        top = torch.stack([cos * wide, (cos * shear - sin) * high, 2 * self.shift * right], 1)
        bottom = torch.stack([sin * wide, (sin * shear + cos) * high, 2 * self.shift * down], 1)
        matrices = torch.stack([top, bottom], 1)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        bends = drawn[:, 6:].view(-1, 2, _KNOTS, _KNOTS) * (2 * self.bend)
        smooth = F.interpolate(bends, images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

"""What data sets made by a program share: their settings, and random maps of the plane."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Params
from dpbench.datasets.rule import PartitionRule

__all__ = ["ProceduralParams", "smooth_noise", "warp"]


class ProceduralParams(Params):
    """How many images, of which shape.

    Attributes:
        images: how many are made.
        size: height and width, in pixels.
        channels: 1 for grey, 3 for colour.
        seed: of all that is random in them.
        partition: the partition rule, where the data set is used by itself.
    """

    images: int = Field(default=24_000, ge=10)
    size: int = Field(default=28, ge=8)
    channels: int = Field(default=1, ge=1, le=3)
    seed: int = Field(default=0, ge=0, lt=2**63)
    partition: PartitionRule = PartitionRule()

    def tint(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw a colour for each image, ``[count, channels, 1, 1]``; grey images stay as bright."""
        if self.channels == 1:
            return torch.ones(count, 1, 1, 1)
        return 0.2 + 0.8 * torch.rand(count, self.channels, 1, 1, generator=rng)


def smooth_noise(count: int, size: int, knots: int, rng: torch.Generator, depth: int = 1) -> Tensor:
    """Draw smooth random fields ``[count, depth, size, size]``: normal at ``knots`` a side."""
    coarse = torch.randn(count, depth, knots, knots, generator=rng)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=True)


def warp(
    count: int,
    size: int,
    rng: torch.Generator,
    rotation: float,
    shear: float,
    stretch: float,
    shift: float,
    elastic: float = 0.0,
) -> Tensor:
    """Draw random affine and elastic maps, as grids ``[count, size, size, 2]`` to sample at.

    ``rotation`` in radians, ``stretch`` in logarithms and ``shear`` bound uniform draws,
    ``shift`` too, as a share of half the image; ``elastic`` is a standard deviation in
    the same unit.
    """

    def uniform(bound: float) -> Tensor:
        return bound * (2 * torch.rand(count, generator=rng) - 1)

    angle, slant = uniform(rotation), uniform(shear)
    wide, high = uniform(stretch).exp(), uniform(stretch).exp()
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([cos * wide, (slant * cos - sin) * high, uniform(shift)], 1),
        torch.stack([sin * wide, (slant * sin + cos) * high, uniform(shift)], 1),
    ]
    theta = torch.stack(rows, 1)
    grid = F.affine_grid(theta, [count, 1, size, size], align_corners=False)
    return grid + elastic * smooth_noise(count, size, 4, rng, depth=2).permute(0, 2, 3, 1)

"""Random affine maps and flips, one draw per image, batched on tensors."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Params, to_float, to_uint8

__all__ = ["Augmentation", "augment"]


class Augmentation(Params):
    """Ranges of the maps; every image draws its own, uniformly.

    Public models that have seen such variety carry over from the public classes
    to the private ones.

    Attributes:
        rotation: degrees, both ways.
        scale: logarithm of the factor along each axis, both ways.
        shear: fraction, both ways.
        shift: fraction of the image's side, both ways.
        flip: probability of each of the two mirror images.
    """

    rotation: float = Field(default=35.0, ge=0, le=180)
    scale: float = Field(default=0.2, ge=0, le=1)
    shear: float = Field(default=0.2, ge=0, le=1)
    shift: float = Field(default=0.08, ge=0, le=0.5)
    flip: float = Field(default=0.5, ge=0, le=1)

    def __call__(self, images: Tensor, rng: torch.Generator) -> Tensor:
        """Transform float ``images`` ``[N, C, H, W]``; what comes from outside is 0.

        ``rng`` lives on the CPU, whatever the device of the images.
        """
        count = len(images)

        def uniform(reach: float) -> Tensor:
            return (2 * torch.rand(count, generator=rng) - 1) * reach

        def mirror() -> Tensor:
            return 1 - 2 * (torch.rand(count, generator=rng) < self.flip).float()

        angle, shear = uniform(math.radians(self.rotation)), uniform(self.shear)
        scale_x, scale_y = uniform(self.scale).exp(), uniform(self.scale).exp()
        flip_x, flip_y = mirror(), mirror()
        cos, sin = angle.cos(), angle.sin()
        # Rotation @ shear @ scale, then the flips; affine_grid spans [-1, 1], hence 2 * shift.
        top = (cos * scale_x, (cos * shear - sin) * scale_y)
        bottom = (sin * scale_x, (sin * shear + cos) * scale_y)
        matrix = torch.stack(
            [
                torch.stack([flip_x * top[0], flip_x * top[1], 2 * uniform(self.shift)], 1),
                torch.stack([flip_y * bottom[0], flip_y * bottom[1], 2 * uniform(self.shift)], 1),
            ],
            1,
        ).to(images)
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def augment(images: Tensor, rng: torch.Generator, batch: int = 1024) -> Tensor:
    """Return ``uint8`` images under the default maps, ``uint8`` again."""
    maps = Augmentation()
    return torch.cat([to_uint8(maps(to_float(part), rng)) for part in images.split(batch)])

"""A public model that knows nothing, and the way through it: latents are pixels."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor

from dpbench.api import Capability, Context, Extractor, PublicModel, to_float

__all__ = ["PixelExtractor", "Pixels"]


class Pixels(PublicModel):
    """Latents are the pixels of an image, ``[B, C * H * W]``; nothing is learned."""

    name = "pixel"
    version = "0.1.0"
    provides: ClassVar[frozenset[Capability]] = frozenset({"decode", "pixels"})
    cost = 0.1

    def __init__(self, params: Any, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        self.latent_dim = math.prod(image_shape)

    def fit(self, images: Tensor, context: Context) -> None:
        """Learn nothing."""

    def decode(self, z: Tensor) -> Tensor:
        """Give pixels their shape, and keep them in ``[0, 1]``."""
        return z.unflatten(1, self.image_shape).clamp(0, 1)


class PixelExtractor(Extractor):
    """An image's pixels, scaled by one number: whitening would drown strokes in corners."""

    name = "pixels"
    label = "id"
    version = "0.1.0"
    requires: ClassVar[frozenset[Capability]] = frozenset({"pixels"})
    standardise = "scale"
    cost = 0.1

    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        """Flatten ``images``, ``[N, C * H * W]`` in ``[0, 1]``."""
        return to_float(images).flatten(1).cpu()

"""Clothing-like images made by a program: silhouettes with textures and shading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Dataset, LabelledImages, Partition, to_uint8
from dpbench.datasets.garment_shapes import KINDS, Part
from dpbench.datasets.procedural import ProceduralParams, smooth_noise, warp
from dpbench.datasets.rule import partition

__all__ = ["Garments", "GarmentsParams"]

#: Drawn so many times larger than shown, for smooth edges.
OVERSAMPLING = 3
#: A tone of 1 in the drawing; more is brighter, up to 255.
UNIT = 128
BATCH = 1000


class GarmentsParams(ProceduralParams):
    """What is drawn.

    Attributes:
        texture: share of images with stripes, checks or a print.
        folds: strength of smooth light and dark, as of folds.
        elastic: standard deviation of a smooth random displacement, as a share of half the image.
    """

    texture: float = Field(default=0.5, ge=0, le=1)
    folds: float = Field(default=0.25, ge=0)
    elastic: float = Field(default=0.03, ge=0)


class Garments(Dataset):
    """Tops, dresses, trousers, shoes, boots, sandals and bags; deterministic under a seed."""

    name = "garments"
    Params = GarmentsParams
    params: GarmentsParams
    class_names = tuple(kind.__name__ for kind in KINDS)

    def load(self, cache: Path) -> Partition:
        made = self._make(self.params.images)
        return partition(made, None, self.params.partition, self.class_names)

    def _make(self, count: int) -> LabelledImages:
        p = self.params
        shapes, rng = np.random.default_rng(p.seed), torch.Generator().manual_seed(p.seed)
        kinds = shapes.integers(len(KINDS), size=count)
        images = [
            self._paint(torch.stack([self._draw(KINDS[kind](shapes)) for kind in part]), rng)
            for part in np.split(kinds, range(BATCH, count, BATCH))
        ]
        return LabelledImages(to_uint8(torch.cat(images)), torch.from_numpy(kinds))

    def _draw(self, parts: list[Part]) -> Tensor:
        """Draw tones, ``[1, H, W]`` uint8, ``OVERSAMPLING`` times the size of an image."""
        side = self.params.size * OVERSAMPLING
        canvas = Image.new("L", (side, side))
        pen = ImageDraw.Draw(canvas)
        for part in parts:
            points = [((x + 1) * side / 2, (y + 1) * side / 2) for x, y in part.points]
            tone = min(255, round(UNIT * part.tone))
            if part.width:
                pen.line(points, tone, max(1, round(part.width * side / 2)), joint="curve")
            else:
                pen.polygon(points, tone)
        return torch.from_numpy(np.array(canvas))[None]

    def _paint(self, tones: Tensor, rng: torch.Generator) -> Tensor:
        """Give drawings textures and shading: ``[N, channels, size, size]`` in [0, 1]."""
        p, count = self.params, len(tones)
        grid = warp(count, p.size * OVERSAMPLING, rng, 0.06, 0.08, 0.1, 0.04, elastic=p.elastic)
        moved = F.grid_sample(tones.float() / UNIT, grid, align_corners=False)
        cover = F.avg_pool2d((moved > 0.02).float(), OVERSAMPLING)
        tone = F.avg_pool2d(moved, OVERSAMPLING)
        base = 0.1 + 0.9 * torch.rand(count, 1, 1, 1, generator=rng).sqrt()
        light = self._light(count, rng) * self._texture(count, rng) * self._edges(cover, rng)
        noise = 0.02 * torch.randn(cover.shape, generator=rng) * cover
        grey = (tone * base * light + noise).clamp(0, 1)
        return grey.repeat(1, p.channels, 1, 1) * p.tint(count, rng)

    def _light(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw folds and a gradient, about 1."""
        knots = 3 + int(torch.randint(5, (1,), generator=rng))
        strength = self.params.folds * torch.rand(count, 1, 1, 1, generator=rng)
        return 1 + strength * smooth_noise(count, self.params.size, knots, rng)

    def _edges(self, cover: Tensor, rng: torch.Generator) -> Tensor:
        """Darken what is near the outline, as rounded cloth is."""
        depth = F.avg_pool2d(cover, 5, stride=1, padding=2)
        strength = 0.6 * torch.rand(len(cover), 1, 1, 1, generator=rng) ** 2
        return 1 - strength * (1 - depth)

    def _texture(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw stripes, checks or a print for a share of images; 1 for the others."""
        size = self.params.size

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, 1, 1, 1, generator=rng)

        x = torch.linspace(0, 1, size)
        angle = (uniform(0, 4).floor() + uniform(-0.05, 0.05)) * (torch.pi / 4)
        along = x.view(1, 1, 1, -1) * angle.cos() + x.view(1, 1, -1, 1) * angle.sin()
        across = x.view(1, 1, -1, 1) * angle.cos() - x.view(1, 1, 1, -1) * angle.sin()
        frequency, phase = uniform(2, 11), uniform(0, 6.3)
        stripes = (2 * torch.pi * frequency * along + phase).sin()
        checks = stripes * (2 * torch.pi * frequency * across + phase).sin()
        window = ((x - 0.5).abs() < 0.18).float()
        spot = (
            smooth_noise(count, size, 8, rng) * window.view(1, 1, 1, -1) * window.view(1, 1, -1, 1)
        )
        which = torch.randint(4, (count, 1, 1, 1), generator=rng)
        mottle = smooth_noise(count, size, size // 2, rng)
        drawn = stripes * (which == 0) + checks * (which == 1) + spot * (which == 2)
        drawn = (drawn + mottle * (which == 3)) * (uniform(0, 1) < self.params.texture)
        return 1 + uniform(0.1, 0.5) * drawn

"""Small images whose class can be seen: what kits lend instead of real data."""

from __future__ import annotations

import torch
from torch import Tensor

from dpbench.api import LabelledImages, Partition

__all__ = ["CLASSES", "PRIVATE_CLASSES", "bars", "noise", "small_partition"]

CLASSES = 4
PRIVATE_CLASSES = (0, 2)


def bars(
    count: int,
    seed: int,
    classes: tuple[int, ...] = tuple(range(CLASSES)),
    shape: tuple[int, int, int] = (1, 16, 16),
) -> LabelledImages:
    """Grey noise ``[count, C, H, W]`` with a bright bar whose height says the class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes)[torch.randint(len(classes), (count,), generator=rng)]
    images = torch.randint(0, 80, (count, *shape), generator=rng)
    rows, part = torch.arange(shape[1]), shape[1] // CLASSES
    inside = (rows >= part * labels[:, None]) & (rows < part * (labels[:, None] + 1))
    images += 150 * inside[:, None, :, None]
    return LabelledImages(images.to(torch.uint8), labels)


def noise(count: int, seed: int, shape: tuple[int, int, int] = (1, 16, 16)) -> Tensor:
    """Uniform random pixels, ``uint8`` ``[count, C, H, W]``."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, *shape), generator=rng, dtype=torch.uint8)


def small_partition() -> Partition:
    """Return a partition of such images, of which classes 0 and 2 are private."""
    public = tuple(c for c in range(CLASSES) if c not in PRIVATE_CLASSES)
    return Partition(
        labelling=bars(300, 31),
        public=bars(200, 32, public),
        private=bars(300, 33, PRIVATE_CLASSES),
        test=bars(400, 34),
        private_classes=PRIVATE_CLASSES,
    )

"""Synthetic images as files: one archive, one PNG each in folders by class, a preview."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from dpbench.leaderboard.pictures import mosaic

__all__ = ["ARCHIVE", "INDEX", "PREVIEW", "write_images"]

ARCHIVE, INDEX, PREVIEW, FOLDER = "images.npz", "images.csv", "preview.png", "images"
#: The folder of images that have no labels.
UNLABELLED = "all"
PREVIEWED, COLUMNS = 100, 10


def write_images(images: Tensor, labels: Tensor | None, folder: Path) -> None:
    """Write ``uint8`` images ``[N, C, H, W]`` and their labels ``[N]``, if any.

    ``images.npz`` holds ``images`` as ``[N, H, W]`` or ``[N, H, W, C]``, and ``labels``;
    below ``images/`` lies one PNG each, for ``torchvision.datasets.ImageFolder``;
    ``images.csv`` says which is which.
    """
    pixels = images.permute(0, 2, 3, 1).numpy()
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if labels is None:
        np.savez_compressed(folder / ARCHIVE, images=pixels)
    else:
        np.savez_compressed(folder / ARCHIVE, images=pixels, labels=labels.numpy())
    names = [UNLABELLED] * len(images) if labels is None else [str(int(n)) for n in labels]
    paths = [f"{FOLDER}/{name}/{number:06d}.png" for number, name in enumerate(names)]
    for name in set(names):
        (folder / FOLDER / name).mkdir(parents=True)
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(folder / path)
    with (folder / INDEX).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label"])
        writer.writerows(zip(paths, names, strict=True))
    Image.fromarray(mosaic(images[:PREVIEWED], COLUMNS)).save(folder / PREVIEW)

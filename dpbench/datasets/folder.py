"""A user's own images: one folder per class."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pydantic import PositiveInt

from dpbench.api import Dataset, LabelledImages, Params, Partition
from dpbench.datasets.rule import PartitionRule, partition
from dpbench.errors import DpbenchError

__all__ = ["BadFolder", "Folder"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SHOWN = 3

Listing = list[tuple[Path, int]]
Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class BadFolder(DpbenchError):
    """A folder that does not hold readable images by class; names what is wrong."""


class FolderParams(Params):
    """Where the images are, how to read them, how to divide them.

    Attributes:
        path: holds one folder per class, named as the class; classes are
            numbered in alphabetical order.
        test_path: the same for test images, where they are kept apart.
        size: height and width to resize to; needed when images differ in size.
        grey: read one channel instead of three.
        partition: the partition rule; classes by number or by folder name.
    """

    path: Path
    test_path: Path | None = None
    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    grey: bool = False
    partition: PartitionRule = PartitionRule()


class Folder(Dataset):
    """Labelled images from a folder with one subfolder per class."""

    name = "folder"
    Params = FolderParams
    params: FolderParams

    def location(self, cache: Path) -> Path:
        """The user's own folder; nothing is copied into ``cache``."""
        return self.params.path.expanduser()

    def is_cached(self, cache: Path) -> bool:
        paths = [self.params.path, self.params.test_path or self.params.path]
        return all(path.expanduser().is_dir() for path in paths)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the class folders; label ``i`` is at place ``i``."""
        return tuple(_classes(self.params.path.expanduser()))

    def load(self, cache: Path) -> Partition:
        names = self.class_names
        train = self._read(self.location(cache), names)
        test = None
        if self.params.test_path is not None:
            test = self._read(self.params.test_path.expanduser(), names)
            shapes = [tuple(part.images.shape[1:]) for part in (train, test)]
            if shapes[0] != shapes[1]:
                raise BadFolder(
                    f"images are {shapes[0]} but test images {shapes[1]} (C, H, W); set size"
                )
        return partition(train, test, self.params.partition, names)

    def _read(self, root: Path, names: tuple[str, ...]) -> LabelledImages:
        listing = _listing(root, names)
        images: Pixels | None = None
        unreadable: list[str] = []
        sizes: dict[tuple[int, ...], str] = {}
        for place, (path, _) in enumerate(listing):
            shown = str(path.relative_to(root))
            try:
                image = self._decode(path)
            # Pillow's decoders raise SyntaxError and others of their own for damaged files.
            except Exception as error:
                unreadable.append(f"{shown} ({' '.join(str(error).split())})")
                continue
            sizes.setdefault(image.shape[1:], shown)
            if images is None:
                images = np.empty((len(listing), *image.shape), np.uint8)
            if len(sizes) == 1:
                images[place] = image
        if unreadable or images is None:
            raise BadFolder(
                f"{len(unreadable)} unreadable images in {root}: {_some(unreadable)}; "
                "repair or remove them"
            )
        if len(sizes) > 1:
            found = [f"{shown} is {height}x{width}" for (height, width), shown in sizes.items()]
            raise BadFolder(f"images in {root} differ in size: {_some(found)}; set size")
        labels = torch.tensor([label for _, label in listing])
        return LabelledImages(torch.from_numpy(images), labels)

    def _decode(self, path: Path) -> Pixels:
        """Return one image as uint8 ``[C, H, W]``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                if image.mode.startswith(("I", "F")):
                    raise BadFolder("more than 8 bits per channel")
                converted = image.convert("L" if self.params.grey else "RGB")
        if self.params.size is not None:
            size = self.params.size
            height, width = (size, size) if isinstance(size, int) else size
            converted = converted.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(converted, np.uint8)
        return pixels[None] if self.params.grey else np.moveaxis(pixels, 2, 0)


def _classes(root: Path) -> list[str]:
    if not root.is_dir():
        raise BadFolder(f"no folder {root}; set the data set's path to a folder of class folders")
    try:
        names = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
    except OSError as error:
        raise BadFolder(f"cannot list {root}: {error.strerror}; make it readable") from error
    if not names:
        raise BadFolder(f"{root} holds no class folders; put the images in one folder per class")
    return names


def _listing(root: Path, names: tuple[str, ...]) -> Listing:
    found: Listing = []
    empty: list[str] = []
    if strange := [name for name in _classes(root) if name not in names]:
        raise BadFolder(f"{root} holds classes unknown to the training images: {_some(strange)}")
    for label, name in enumerate(names):
        files = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        found += [(path, label) for path in files if path.is_file()]
        if not files:
            empty.append(name)
    if empty:
        raise BadFolder(
            f"no images of class {_some(empty)} in {root}; add some ({' '.join(SUFFIXES)})"
        )
    return found


def _some(items: list[str]) -> str:
    rest = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")

"""A user's own images: one folder per class."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from pydantic import PositiveInt

from dpbench.api import Dataset, LabelledImages, Params, Partition
from dpbench.datasets.room import DEFAULT_GIB, MaxGib, TooLarge, lies_at, require_room
from dpbench.datasets.rule import PartitionRule, partition
from dpbench.errors import DpbenchError, one_line, printable

__all__ = ["BadFolder", "Folder"]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
#: Whatever a file is called, no other decoder sees it: one of Pillow's starts Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
#: Of one image and its file: a few kilobytes can declare an image that fills the memory.
MOST_PIXELS, MOST_BYTES = 2**26, 2**28
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
        max_gib: most memory that the images may take, one byte a pixel and channel.
        partition: the partition rule; classes by number or by folder name.
    """

    path: Path
    test_path: Path | None = None
    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None
    grey: bool = False
    max_gib: MaxGib = DEFAULT_GIB
    partition: PartitionRule = PartitionRule()


class Folder(Dataset):
    """Labelled images from a folder with one subfolder per class."""

    name = "folder"
    Params = FolderParams
    params: FolderParams

    def location(self, cache: Path) -> Path:
        """The user's own folder; nothing is copied into ``cache``."""
        return lies_at(self.params.path)

    def is_cached(self, cache: Path) -> bool:
        paths = [self.params.path, self.params.test_path or self.params.path]
        return all(lies_at(path).is_dir() for path in paths)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the class folders; label ``i`` is at place ``i``."""
        return tuple(_classes(lies_at(self.params.path)))

    def load(self, cache: Path) -> Partition:
        names = self.class_names
        train = self._read(self.location(cache), names)
        test = None
        if self.params.test_path is not None:
            test = self._read(lies_at(self.params.test_path), names)
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
        sizes: dict[tuple[int, int], str] = {}
        for place, (path, _) in enumerate(listing):
            shown = str(path.relative_to(root))
            try:
                with _open(path) as image:
                    height, width = self._shape(image)
                    sizes.setdefault((height, width), shown)
                    if len(sizes) > 1:
                        continue
                    if images is None:
                        shape = (len(listing), 1 if self.params.grey else 3, height, width)
                        told = f"{len(listing)} images as {shown}"
                        require_room(told, shape, self.params.max_gib)
                        images = np.empty(shape, np.uint8)
                    images[place] = self._decode(image, (height, width))
            except TooLarge:
                raise
            # Pillow's decoders raise SyntaxError and others of their own for damaged files.
            except Exception as error:
                unreadable.append(f"{shown} ({_reason(error)})")
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

    def _shape(self, image: Image.Image) -> tuple[int, int]:
        """Return the height and width that an image is going to have."""
        size = self.params.size
        if size is None:
            return image.height, image.width
        return (size, size) if isinstance(size, int) else size

    def _decode(self, image: Image.Image, shape: tuple[int, int]) -> Pixels:
        """Return an image as uint8 ``[C, H, W]``."""
        converted = image.convert("L" if self.params.grey else "RGB")
        height, width = shape
        if self.params.size is not None:
            converted = converted.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(converted, np.uint8)
        return pixels[None] if self.params.grey else np.moveaxis(pixels, 2, 0)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    """Give an image of which only the header was read; Pillow's warnings are not for users.

    Raises:
        BadFolder: no format that is allowed, or larger than allowed.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        raise BadFolder(f"a file of {size} bytes, more than {MOST_BYTES}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BadFolder(f"{image.width} x {image.height} pixels, more than {MOST_PIXELS}")
            if image.mode.startswith(("I", "F")):
                raise BadFolder("more than 8 bits per channel")
            yield image


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return f"in none of the formats {', '.join(FORMATS)}"
    return one_line(error) or type(error).__name__


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
        named = (p for p in (root / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        files = sorted(path for path in named if path.is_file())
        found += [(path, label) for path in files]
        if not files:
            empty.append(name)
    if empty:
        raise BadFolder(
            f"no images of class {_some(empty)} in {root}; add some ({' '.join(SUFFIXES)})"
        )
    return found


def _some(items: list[str]) -> str:
    rest = len(items) - SHOWN
    return ", ".join(map(printable, items[:SHOWN])) + (f" and {rest} more" if rest > 0 else "")

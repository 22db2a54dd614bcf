"""A user's own images in one ``.npz`` file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpbench.api import Dataset, LabelledImages, Params, Partition
from dpbench.datasets.rule import PartitionRule, partition
from dpbench.errors import DpbenchError

__all__ = ["BadArrays", "Npz", "as_images", "as_labels"]

Array = np.ndarray[Any, Any]
CHANNELS = (1, 3)
LAYOUTS = "(N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels"
CHUNK = 4096


class BadArrays(DpbenchError):
    """An ``.npz`` file that does not hold labelled images; lists all that is wrong."""


class NpzParams(Params):
    """Where the file is and how to divide it.

    Attributes:
        path: the ``.npz`` file, with arrays ``images`` and ``labels``, and, if
            the data have a test set of their own, ``test_images`` and ``test_labels``.
        partition: the partition rule.
    """

    path: Path
    partition: PartitionRule = PartitionRule()


class Npz(Dataset):
    """Labelled images from one ``.npz`` file."""

    name = "npz"
    Params = NpzParams
    params: NpzParams

    def location(self, cache: Path) -> Path:
        """The user's own file; nothing is copied into ``cache``."""
        return self.params.path.expanduser()

    def is_cached(self, cache: Path) -> bool:
        return self.location(cache).is_file()

    def load(self, cache: Path) -> Partition:
        path = self.location(cache)
        if not path.is_file():
            raise BadArrays(f"no file {path}; set the data set's path to an .npz file")
        try:
            with path.open("rb") as stream:
                archive = np.load(stream, allow_pickle=False)
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise BadArrays(f"{path} is not an .npz file; write it with numpy.savez")
                with archive:
                    train, test = _read(path, archive)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            reason = " ".join(str(error).split())
            raise BadArrays(f"cannot read {path}: {reason}; write it with numpy.savez") from error
        return partition(train, test, self.params.partition)


def _read(path: Path, archive: Mapping[str, Array]) -> tuple[LabelledImages, LabelledImages | None]:
    wanted = ["images", "labels"]
    if "test_images" in archive or "test_labels" in archive:
        wanted += ["test_images", "test_labels"]
    if missing := [name for name in wanted if name not in archive]:
        raise BadArrays(
            f"{path} lacks {', '.join(missing)}; it has {', '.join(archive) or 'no arrays'}"
        )
    wrong: list[str] = []
    parts: list[LabelledImages] = []
    for images_name, labels_name in zip(wanted[::2], wanted[1::2], strict=True):
        try:
            images = as_images(archive[images_name], images_name)
            labels = as_labels(archive[labels_name], labels_name, len(images))
            parts.append(LabelledImages(images, labels))
        except BadArrays as error:
            wrong.append(str(error))
    if len(parts) == 2 and parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        shapes = [tuple(part.images.shape[1:]) for part in parts]
        wrong.append(f"images are {shapes[0]} but test_images {shapes[1]} (C, H, W)")
    if wrong:
        raise BadArrays(f"{path}: {'; '.join(wrong)}")
    return parts[0], parts[1] if len(parts) == 2 else None


def as_images(array: Array, name: str = "images") -> Tensor:
    """Bring an array to uint8 ``[N, C, H, W]``.

    Args:
        array: ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``; uint8, or
            floating point in ``[0, 1]``, which is rounded to the nearest of 256 levels.

    Raises:
        BadArrays: another shape, dtype or range.
    """
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[3] in CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    elif array.ndim != 4 or array.shape[1] not in CHANNELS:
        raise BadArrays(f"{name} have shape {array.shape}; expected {LAYOUTS}")
    if 0 in array.shape:
        raise BadArrays(f"{name} are empty: shape {array.shape}")
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    if array.dtype.kind != "f":
        raise BadArrays(f"{name} have dtype {array.dtype}; expected uint8, or floats in [0, 1]")
    out = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), CHUNK):
        chunk = array[start : start + CHUNK]
        if not (chunk.min() >= 0 and chunk.max() <= 1):  # also true of NaN
            raise BadArrays(
                f"{name} are floats outside [0, 1] (or not finite); divide them, or save uint8"
            )
        out[start : start + CHUNK] = np.rint(chunk.astype(np.float64) * 255)
    return torch.from_numpy(out)


def as_labels(array: Array, name: str, count: int) -> Tensor:
    """Bring ``count`` labels to int64 ``[N]``.

    Raises:
        BadArrays: not whole numbers from 0, or not one per image.
    """
    if array.dtype.kind not in "iu":
        raise BadArrays(f"{name} have dtype {array.dtype}; expected whole numbers")
    if array.shape != (count,):
        raise BadArrays(f"{name} have shape {array.shape}; expected ({count},), one per image")
    if array.min() < 0:
        raise BadArrays(f"{name} hold {array.min()}; number classes from 0")
    return torch.from_numpy(array.astype(np.int64))

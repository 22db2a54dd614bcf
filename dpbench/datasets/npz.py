"""A user's own images in one ``.npz`` file."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from dpbench.api import Dataset, LabelledImages, Params, Partition
from dpbench.datasets.room import DEFAULT_GIB, MaxGib, lies_at, require_room
from dpbench.datasets.rule import PartitionRule, partition
from dpbench.errors import DpbenchError, one_line, printable

__all__ = ["BadArrays", "Npz", "as_images", "as_labels"]

Array = np.ndarray[Any, Any]
CHANNELS = (1, 3)
LAYOUTS = "(N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels"
#: Bytes of an array that are read at a time, and of its header, all of which must lie there.
CHUNK, HEADER = 2**24, 2**14
#: Networks have an output for each class up to the highest.
MOST_CLASSES = 2**16


class BadArrays(DpbenchError):
    """An ``.npz`` file that does not hold labelled images; lists all that is wrong."""


class NpzParams(Params):
    """Where the file is and how to divide it.

    Attributes:
        path: the ``.npz`` file, with arrays ``images`` and ``labels``, and, if
            the data have a test set of their own, ``test_images`` and ``test_labels``.
        max_gib: most memory that the images may take, one byte a pixel and channel.
        partition: the partition rule.
    """

    path: Path
    max_gib: MaxGib = DEFAULT_GIB
    partition: PartitionRule = PartitionRule()


class Npz(Dataset):
    """Labelled images from one ``.npz`` file."""

    name = "npz"
    Params = NpzParams
    params: NpzParams

    def location(self, cache: Path) -> Path:
        """The user's own file; nothing is copied into ``cache``."""
        return lies_at(self.params.path)

    def is_cached(self, cache: Path) -> bool:
        return self.location(cache).is_file()

    def load(self, cache: Path) -> Partition:
        path = self.location(cache)
        if not path.is_file():
            raise BadArrays(f"no file {path}; set the data set's path to an .npz file")
        try:
            with zipfile.ZipFile(path) as archive:
                train, test = _read(path, archive, self.params.max_gib)
        except DpbenchError:
            raise
        except Exception as error:  # whatever a malformed archive makes zipfile or numpy raise
            raise BadArrays(
                f"cannot read {path}: {one_line(error) or type(error).__name__}; "
                "write it with numpy.savez"
            ) from error
        return partition(train, test, self.params.partition)


@dataclass(frozen=True)
class _Member:
    """An array of an archive, of which only the header was read.

    Attributes:
        start: bytes of the header, after which the array's own begin.
    """

    archive: zipfile.ZipFile
    name: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int

    @classmethod
    def of(cls, archive: zipfile.ZipFile, name: str) -> _Member:
        """Read an array's header.

        Raises:
            BadArrays: it declares another size than the archive holds, or no numbers.
        """
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as stream:
            head = io.BytesIO(stream.read(HEADER))
        version = npy.read_magic(head)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(head)
        if dtype.kind not in "bfiu":
            raise BadArrays(f"{name} have dtype {dtype}; expected numbers")
        declared, held = math.prod(shape) * dtype.itemsize, member.file_size - head.tell()
        if declared != held:
            raise BadArrays(
                f"{name} declare shape {shape} of {dtype}, which is {declared} bytes, but the "
                f"file holds {held}; write it with numpy.savez"
            )
        return cls(archive, name, shape, fortran, dtype, head.tell())

    def whole(self) -> Array:
        """Return the array, read at once."""
        with self._open() as stream:
            flat = np.frombuffer(_exactly(stream, math.prod(self.shape) * self.dtype.itemsize),
                                 self.dtype)  # fmt: skip
        return flat.reshape(self.shape, order="F" if self.fortran else "C")

    def images(self) -> Tensor:
        """Return the array as uint8 ``[N, C, H, W]``, read a part at a time where that can be."""
        if self.fortran:  # the last image begins where the first does
            return as_images(self.whole(), self.name)
        count, *rest = self.shape
        each = math.prod(rest) * self.dtype.itemsize
        many = max(CHUNK // each, 1)
        out: Tensor | None = None
        with self._open() as stream:
            for start in range(0, count, many):
                here = min(many, count - start)
                flat = np.frombuffer(_exactly(stream, here * each), self.dtype)
                images = as_images(flat.reshape(here, *rest), self.name)
                if out is None:
                    out = torch.empty(count, *images.shape[1:], dtype=torch.uint8)
                out[start : start + here] = images
        assert out is not None  # empty arrays were refused
        return out

    def _open(self) -> IO[bytes]:
        stream = self.archive.open(f"{self.name}.npy")
        _exactly(stream, self.start)
        return stream


def _exactly(stream: IO[bytes], count: int) -> bytearray:
    data = bytearray(stream.read(count))
    if len(data) != count:
        raise EOFError("it is cut short")
    return data


def _read(
    path: Path, archive: zipfile.ZipFile, max_gib: float
) -> tuple[LabelledImages, LabelledImages | None]:
    there = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
    wanted = ["images", "labels"]
    if "test_images" in there or "test_labels" in there:
        wanted += ["test_images", "test_labels"]
    if missing := [name for name in wanted if name not in there]:
        shown = printable(", ".join(there)[:200]) or "no arrays"
        raise BadArrays(f"{path} lacks {', '.join(missing)}; it has {shown}")
    wrong: list[str] = []
    parts: list[LabelledImages] = []
    for images_name, labels_name in zip(wanted[::2], wanted[1::2], strict=True):
        try:
            images, labels = _Member.of(archive, images_name), _Member.of(archive, labels_name)
            _check_images(images.shape, images.dtype, images_name)
            _check_labels(labels.shape, labels.dtype, labels_name, images.shape[0])
            taken = [images.dtype.itemsize] if images.fortran else []
            require_room(f"{images_name} of {path}", [*images.shape, *taken], max_gib)
            read = as_labels(labels.whole(), labels_name, images.shape[0])
            parts.append(LabelledImages(images.images(), read))
        except BadArrays as error:
            wrong.append(str(error))
    if len(parts) == 2 and parts[0].images.shape[1:] != parts[1].images.shape[1:]:
        shapes = [tuple(part.images.shape[1:]) for part in parts]
        wrong.append(f"images are {shapes[0]} but test_images {shapes[1]} (C, H, W)")
    if wrong:
        raise BadArrays(f"{path}: {'; '.join(wrong)}")
    return parts[0], parts[1] if len(parts) == 2 else None


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    if len(shape) not in (3, 4) or (
        len(shape) == 4 and shape[3] not in CHANNELS and shape[1] not in CHANNELS
    ):
        raise BadArrays(f"{name} have shape {shape}; expected {LAYOUTS}")
    if 0 in shape:
        raise BadArrays(f"{name} are empty: shape {shape}")
    if dtype != np.uint8 and dtype.kind != "f":
        raise BadArrays(f"{name} have dtype {dtype}; expected uint8, or floats in [0, 1]")


def as_images(array: Array, name: str = "images") -> Tensor:
    """Bring an array to uint8 ``[N, C, H, W]``.

    Args:
        array: ``(N, H, W)``, ``(N, H, W, C)`` or ``(N, C, H, W)``; uint8, or
            floating point in ``[0, 1]``, which is rounded to the nearest of 256 levels.

    Raises:
        BadArrays: another shape, dtype or range.
    """
    _check_images(array.shape, array.dtype, name)
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[3] in CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(array))
    out = np.empty(array.shape, np.uint8)
    many = max(CHUNK // (8 * math.prod(array.shape[1:])), 1)
    for start in range(0, len(array), many):
        chunk = array[start : start + many].astype(np.float64)
        if not (chunk.min() >= 0 and chunk.max() <= 1):  # also true of NaN
            raise BadArrays(
                f"{name} are floats outside [0, 1] (or not finite); divide them, or save uint8"
            )
        out[start : start + many] = np.rint(chunk * 255)
    return torch.from_numpy(out)


def _check_labels(shape: tuple[int, ...], dtype: np.dtype[Any], name: str, count: int) -> None:
    if dtype.kind not in "iu":
        raise BadArrays(f"{name} have dtype {dtype}; expected whole numbers")
    if shape != (count,):
        raise BadArrays(f"{name} have shape {shape}; expected ({count},), one per image")


def as_labels(array: Array, name: str, count: int) -> Tensor:
    """Bring ``count`` labels to int64 ``[N]``.

    Raises:
        BadArrays: not whole numbers from 0, or not one per image.
    """
    _check_labels(array.shape, array.dtype, name, count)
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest >= MOST_CLASSES:
        odd = lowest if lowest < 0 else highest
        raise BadArrays(f"{name} hold {odd}; number classes from 0 to at most {MOST_CLASSES - 1}")
    return torch.from_numpy(array.astype(np.int64))

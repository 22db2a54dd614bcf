"""The IDX files in which MNIST and its look-alikes are distributed."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpbench.api import LabelledImages

__all__ = ["FILES", "decode", "encode", "labelled"]

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

#: The four file names and their sizes in bytes, header included.
FILES: dict[str, int] = {
    TRAIN_IMAGES: 16 + 60_000 * 28 * 28,
    TRAIN_LABELS: 8 + 60_000,
    TEST_IMAGES: 16 + 10_000 * 28 * 28,
    TEST_LABELS: 8 + 10_000,
}


def encode(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Write a ``uint8`` array of any shape as an IDX file."""
    if array.dtype != np.uint8:
        raise ValueError(f"IDX files here hold uint8, not {array.dtype}")
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def decode(content: bytes) -> Tensor:
    """Read an IDX file of unsigned bytes into a ``uint8`` tensor of its shape.

    Raises:
        ValueError: the header is not that of such a file, or bytes are missing.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise ValueError("not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise ValueError("IDX header is cut short")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    values = np.frombuffer(content, np.uint8, offset=start)
    if values.size != math.prod(shape):
        raise ValueError(f"IDX file announces shape {shape} but holds {values.size} bytes")
    return torch.from_numpy(values.reshape(shape).copy())


def labelled(files: Mapping[str, bytes]) -> tuple[LabelledImages, LabelledImages]:
    """Return the training and the test images, uint8 ``[N, 1, H, W]``, of four IDX files."""

    def pair(images: str, labels: str) -> LabelledImages:
        return LabelledImages(decode(files[images]).unsqueeze(1), decode(files[labels]).long())

    return pair(TRAIN_IMAGES, TRAIN_LABELS), pair(TEST_IMAGES, TEST_LABELS)

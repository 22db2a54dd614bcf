from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpbench.datasets.npz import BadArrays, Npz, as_images
from dpbench.datasets.rule import BadPartition
from dpbench.errors import DpbenchError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (80, 5, 4), dtype=np.uint8)
LABELS = np.arange(80) % 4


def load(path: Path, **params: Any) -> Any:
    return Npz(Npz.Params(path=path, **params)).load(path.parent)


@pytest.fixture
def save(tmp_path: Path, archive: Callable[..., bytes]) -> Callable[..., Path]:
    def write(**arrays: Any) -> Path:
        path = tmp_path / "data.npz"
        path.write_bytes(archive(**arrays))
        return path

    return write


def test_loads_and_divides(save: Callable[..., Path]) -> None:
    parts = load(save(images=IMAGES, labels=LABELS))
    assert parts.image_shape == (1, 5, 4)
    assert parts.private_classes == (0, 2)
    assert parts.labelling.images.dtype == torch.uint8
    sizes = [len(p) for p in (parts.labelling, parts.public, parts.private, parts.test)]
    assert sum(sizes) == 80


def test_its_own_test_set(save: Callable[..., Path]) -> None:
    path = save(images=IMAGES, labels=LABELS, test_images=IMAGES[:8], test_labels=LABELS[:8])
    parts = load(path)
    assert np.array_equal(parts.test.images[:, 0].numpy(), IMAGES[:8])


def test_layouts_agree() -> None:
    colour = RNG.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    last, first = as_images(colour), as_images(colour.transpose(0, 3, 1, 2))
    assert last.shape == (6, 3, 5, 4)
    assert torch.equal(last, first)
    assert torch.equal(as_images(IMAGES), as_images(IMAGES[..., None]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_to_the_nearest_level(dtype: Any) -> None:
    assert np.array_equal(as_images((IMAGES / 255).astype(dtype))[:, 0].numpy(), IMAGES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, "lacks labels; it has images"),
        ({}, "lacks images, labels; it has no arrays"),
        ({"images": IMAGES, "labels": LABELS, "test_images": IMAGES}, "lacks test_labels"),
        ({"images": IMAGES[:, 0, 0], "labels": LABELS}, r"shape \(80,\); expected \(N, H, W\)"),
        ({"images": np.zeros((9, 2, 5, 5), np.uint8), "labels": LABELS}, "1 or 3 channels"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "images are empty"),
        ({"images": IMAGES.astype(int), "labels": LABELS}, "dtype int64; expected uint8"),
        ({"images": IMAGES.astype(float), "labels": LABELS}, r"floats outside \[0, 1\]"),
        ({"images": np.full((8, 5, 5), np.nan), "labels": LABELS[:8]}, "not finite"),
        ({"images": IMAGES, "labels": LABELS[:9]}, r"labels have shape \(9,\); expected \(80,\)"),
        ({"images": IMAGES, "labels": LABELS / 1}, "dtype float64; expected whole numbers"),
        ({"images": IMAGES, "labels": LABELS - 1}, "labels hold -1"),
        ({"images": IMAGES, "labels": np.array([{}] * 80)}, "allow_pickle=False"),
    ],
)
def test_bad_arrays(save: Callable[..., Path], arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(BadArrays, match=message) as caught:
        load(save(**arrays))
    assert "\n" not in str(caught.value)


def test_all_violations_in_one_message(save: Callable[..., Path]) -> None:
    path = save(
        images=IMAGES.astype(int), labels=LABELS, test_images=IMAGES, test_labels=LABELS[:3]
    )
    with pytest.raises(BadArrays, match=r"images have dtype int64.*; test_labels have shape"):
        load(path)


def test_test_images_of_another_size(save: Callable[..., Path]) -> None:
    path = save(images=IMAGES, labels=LABELS, test_images=IMAGES[:, 1:], test_labels=LABELS)
    with pytest.raises(BadArrays, match=r"images are \(1, 5, 4\) but test_images \(1, 4, 4\)"):
        load(path)


def test_too_few_images(save: Callable[..., Path]) -> None:
    with pytest.raises(BadPartition, match="too few images"):
        load(save(images=IMAGES[:8], labels=LABELS[:8]))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken"])
def test_files_that_are_no_archives(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(BadArrays, match="cannot read"):
        load(path)


def test_damaged_and_misnamed_files(tmp_path: Path, save: Callable[..., Path]) -> None:
    path = save(images=IMAGES, labels=LABELS)
    content = bytearray(path.read_bytes())
    content[400] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(BadArrays, match="Bad CRC"):
        load(path)
    np.save(tmp_path / "one.npy", IMAGES)
    with pytest.raises(BadArrays, match=r"not an \.npz file"):
        load(tmp_path / "one.npy")


def test_missing_file(tmp_path: Path) -> None:
    dataset = Npz(Npz.Params(path=tmp_path / "absent.npz"))
    assert not dataset.is_cached(tmp_path)
    with pytest.raises(DpbenchError, match=r"no file .*absent\.npz"):
        dataset.load(tmp_path)

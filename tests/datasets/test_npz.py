from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpbench.datasets.npz import CHUNK, BadArrays, Npz, as_images
from dpbench.datasets.room import TooLarge
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
        ({"images": IMAGES, "labels": LABELS.astype(np.uint64) - 1}, "labels hold 18446744073"),
        ({"images": IMAGES, "labels": LABELS + 10**6}, "labels hold 1000003; number classes from"),
        ({"images": IMAGES, "labels": np.array([{}] * 80)}, "labels have dtype object"),
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
    with pytest.raises(BadArrays, match="not a zip file"):
        load(tmp_path / "one.npy")


def test_missing_file(tmp_path: Path) -> None:
    dataset = Npz(Npz.Params(path=tmp_path / "absent.npz"))
    assert not dataset.is_cached(tmp_path)
    with pytest.raises(DpbenchError, match=r"no file .*absent\.npz"):
        dataset.load(tmp_path)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_large_arrays_are_read_part_by_part(
    save: Callable[..., Path], dtype: Any, order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    colour = RNG.integers(0, 256, (80, 5, 4, 3), dtype=np.uint8)
    kept = (colour / 255 if dtype == np.float32 else colour).astype(dtype, order=order)
    monkeypatch.setattr("dpbench.datasets.npz.CHUNK", 700)
    parts = load(
        save(images=kept, labels=LABELS, test_images=kept, test_labels=LABELS.astype(">u2"))
    )
    assert np.array_equal(parts.test.images.numpy(), colour.transpose(0, 3, 1, 2))
    assert parts.test.labels.tolist() == LABELS.tolist()


def pack(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def header(shape: tuple[int, ...], descr: str = "|u1") -> bytes:
    stream = io.BytesIO()
    described = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (header((10**11, 28, 28)), r"declare shape \(100000000000, 28, 28\) .* the file holds 0"),
        (header((80, 5, 4)) + bytes(1601), "which is 1600 bytes, but the file holds 1601"),
        (header((80, 5, 4), "|O"), "dtype object; expected numbers"),
        (b"", "cannot read"),
        (b"\x93NUMPY\x01\x00" + bytes([255, 255]) + b"{" * 2**16, "cannot read"),
    ],
)
def test_what_is_declared_has_to_be_there(tmp_path: Path, images: bytes, message: str) -> None:
    labels = header((80,)) + bytes(80)
    path = pack(tmp_path / "a.npz", **{"images.npy": images, "labels.npy": labels})
    with pytest.raises(BadArrays, match=message):
        load(path)


def test_an_archive_of_other_files_is_told_what_it_lacks(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.npz", images=b"a picture", labels=b"1", **{"\x1b[31m.npy": b"x"})
    with pytest.raises(BadArrays, match=r"lacks images, labels; it has \\x1b\[31m"):
        load(path)


def test_a_small_file_of_many_images_is_refused_before_it_is_read(tmp_path: Path) -> None:
    images, labels = header((40, 1000, 1000)) + bytes(40 * 10**6), header((40,)) + bytes(40)
    path = pack(tmp_path / "a.npz", **{"images.npy": images, "labels.npy": labels})
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=r"would take 0\.04 GiB, more than 0\.01: raise max_gib"):
            load(path, max_gib=0.01)
        assert tracemalloc.get_traced_memory()[1] < CHUNK / 16
    finally:
        tracemalloc.stop()

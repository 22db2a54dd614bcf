from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dpbench.datasets.folder import BadFolder, Folder
from dpbench.datasets.room import TooLarge


def load(path: Path, **params: Any) -> Any:
    return Folder(Folder.Params(path=path, **params)).load(path)


def test_loads_and_divides(image_folder: Path) -> None:
    parts = load(image_folder, partition={"public_classes": ["pear"]})
    assert parts.image_shape == (3, 8, 6)
    assert parts.private_classes == (0,)
    assert parts.private.images.dtype == torch.uint8
    everything = [parts.labelling, parts.public, parts.private, parts.test]
    assert sum(map(len, everything)) == 24


def test_pixels_and_labels_belong_together(image_folder: Path) -> None:
    parts = load(image_folder, test_path=image_folder)
    pixels = np.asarray(Image.open(image_folder / "pear" / "03.png"))
    assert np.array_equal(parts.test.images[12 + 3].permute(1, 2, 0).numpy(), pixels)
    assert parts.test.labels.tolist() == [0] * 12 + [1] * 12


def test_grey_and_resized(image_folder: Path) -> None:
    assert load(image_folder, grey=True).image_shape == (1, 8, 6)
    assert load(image_folder, size=4).image_shape == (3, 4, 4)
    assert load(image_folder, size=(4, 5), grey=True).image_shape == (1, 4, 5)


def test_other_files_are_ignored(image_folder: Path) -> None:
    (image_folder / "pear" / "notes.txt").write_text("not an image")
    (image_folder / ".hidden").mkdir()
    assert len(load(image_folder, test_path=image_folder).test) == 24


def test_sizes_differ(image_folder: Path) -> None:
    Image.new("RGB", (9, 7)).save(image_folder / "pear" / "odd.png")
    with pytest.raises(BadFolder, match=r"apple/00\.png is 8x6, pear/odd\.png is 7x9; set size"):
        load(image_folder)
    assert load(image_folder, size=8).image_shape == (3, 8, 8)


def test_corrupt_images_are_named(image_folder: Path) -> None:
    whole = (image_folder / "pear" / "00.png").read_bytes()
    (image_folder / "pear" / "00.png").write_bytes(whole[:60])
    for number in range(1, 5):
        (image_folder / "apple" / f"{number:02}.png").write_bytes(b"nothing")
    with pytest.raises(BadFolder, match=r"5 unreadable images .*apple/01\.png.* and 2 more"):
        load(image_folder)


def test_sixteen_bit_images_are_refused(image_folder: Path) -> None:
    Image.fromarray(np.zeros((8, 6), np.uint16)).save(image_folder / "pear" / "deep.png")
    with pytest.raises(BadFolder, match=r"deep\.png \(more than 8 bits per channel\)"):
        load(image_folder)


def test_missing_and_empty_folders(tmp_path: Path, image_folder: Path) -> None:
    dataset = Folder(Folder.Params(path=tmp_path / "absent"))
    assert not dataset.is_cached(tmp_path)
    with pytest.raises(BadFolder, match=r"no folder .*absent"):
        dataset.load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadFolder, match="holds no class folders"):
        load(tmp_path / "empty")
    (image_folder / "plum").mkdir()
    with pytest.raises(BadFolder, match="no images of class plum"):
        load(image_folder)


def test_test_folder_with_other_classes(tmp_path: Path, image_folder: Path) -> None:
    (tmp_path / "test" / "fig").mkdir(parents=True)
    with pytest.raises(BadFolder, match="unknown to the training images: fig"):
        load(image_folder, test_path=tmp_path / "test")


def test_only_formats_of_pictures_are_opened(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encapsulated PostScript is a program, and Ghostscript would run it."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    Image.new("RGB", (6, 8)).save(image_folder / "pear" / "00.png", format="EPS")
    Image.new("RGB", (6, 8)).save(image_folder / "pear" / "01.png", format="PPM")
    with pytest.raises(BadFolder, match=r"2 unreadable .*00\.png \(in none of the formats PNG"):
        load(image_folder)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif", "gif"])
def test_the_content_decides_not_the_name(image_folder: Path, suffix: str) -> None:
    there = image_folder / "pear" / "00.png"
    pixels = Image.open(there).convert("L")
    pixels.save(image_folder / "pear" / f"new.{suffix}")
    (image_folder / "pear" / f"new.{suffix}").replace(there)
    parts = load(image_folder, test_path=image_folder, grey=True)
    if suffix in ("png", "bmp", "tif", "gif"):
        assert np.array_equal(parts.test.images[12, 0].numpy(), np.asarray(pixels))


def png(width: int, height: int) -> bytes:
    """Return a small file that declares an image of any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IEND", b"")


def test_what_an_image_declares_is_bounded_before_it_is_decoded(
    image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # whatever others set
    odd = image_folder / "apple" / "-.png"
    odd.write_bytes(png(60_000, 60_000))
    with pytest.raises(BadFolder, match="60000 x 60000 pixels, more than 67108864"):
        load(image_folder)
    odd.write_bytes(png(8_000, 8_000))
    with pytest.raises(TooLarge, match=r"25 images as apple/-\.png would take 4\.47 GiB"):
        load(image_folder)
    odd.unlink()
    with pytest.raises(TooLarge, match="more than 2: raise max_gib"):
        load(image_folder, size=10**6)


def test_what_is_no_file_is_no_image(image_folder: Path) -> None:
    os.mkfifo(image_folder / "pear" / "pipe.png")
    assert len(load(image_folder, test_path=image_folder).test) == 24
    (image_folder / "plum").mkdir()
    os.mkfifo(image_folder / "plum" / "pipe.png")
    with pytest.raises(BadFolder, match="no images of class plum"):
        load(image_folder)


def test_names_are_written_out(image_folder: Path) -> None:
    (image_folder / "p\x1b[31m\udcff").mkdir()
    with pytest.raises(BadFolder, match=r"no images of class p\\x1b\[31m\\udcff in"):
        load(image_folder)

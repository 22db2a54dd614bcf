from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dpbench.datasets.folder import BadFolder, Folder


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

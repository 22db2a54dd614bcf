from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dpbench.api import Dataset
from dpbench.datasets.garments import Garments
from dpbench.datasets.glyphs import Glyphs, NoFonts, usable_fonts
from dpbench.errors import DpbenchError

COUNT = 140
Make = Callable[..., Dataset]


def glyphs(**params: object) -> Glyphs:
    return Glyphs(Glyphs.Params.model_validate({"images": COUNT, **params}))


def garments(**params: object) -> Garments:
    return Garments(Garments.Params.model_validate({"images": COUNT, **params}))


def test_letters_of_every_class_and_font(tmp_path: Path) -> None:
    partition = glyphs(images=2000).load(tmp_path)
    assert partition.image_shape == (1, 28, 28)
    whole = torch.cat([partition.labelling.labels, partition.public.labels])
    assert set(whole.tolist()) <= set(range(52))
    assert len(set(whole.tolist())) > 45
    assert len(usable_fonts("abcXYZ")) >= 20


@pytest.mark.parametrize("make", [glyphs, garments])
def test_images_follow_from_the_seed_alone(make: Make, tmp_path: Path) -> None:
    first, again, other = (make(seed=seed).load(tmp_path) for seed in (1, 1, 2))
    assert torch.equal(first.public.images, again.public.images)
    assert torch.equal(first.public.labels, again.public.labels)
    assert not torch.equal(first.labelling.images[:9], other.labelling.images[:9])


@pytest.mark.parametrize("make", [glyphs, garments])
def test_every_image_shows_something_on_black(make: Make, tmp_path: Path) -> None:
    images = make().load(tmp_path).labelling.images
    assert int(images.flatten(1).amax(1).min()) > 20
    assert float((images < 20).float().mean()) > 0.4


@pytest.mark.parametrize("make", [glyphs, garments])
def test_size_and_colour(make: Make, tmp_path: Path) -> None:
    partition = make(size=32, channels=3).load(tmp_path)
    assert partition.image_shape == (3, 32, 32)
    red, green = partition.public.images[:, 0].float(), partition.public.images[:, 1].float()
    assert float((red - green).abs().amax()) > 20


def test_fonts_by_path(tmp_path: Path) -> None:
    font = usable_fonts("ab")[0]
    shown = glyphs(characters="01", fonts=[str(font)]).load(tmp_path)
    assert set(shown.labelling.labels.tolist()) == {0, 1}


def test_a_font_that_is_none(tmp_path: Path) -> None:
    wrong = tmp_path / "letters.ttf"
    wrong.write_text("nothing")
    with pytest.raises(NoFonts, match=r"cannot read font .*letters.ttf"):
        glyphs(fonts=[str(wrong)]).load(tmp_path)


def test_characters_that_no_font_has(tmp_path: Path) -> None:
    with pytest.raises(DpbenchError, match="name others by the data set's fonts"):
        glyphs(characters="a漢").load(tmp_path)

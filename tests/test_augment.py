"""Random maps of public images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpbench.augment import Augmentation, augment

STILL = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0, "flip": 0}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(count: int = 6, channels: int = 3, height: int = 12, width: int = 8) -> Tensor:
    return torch.rand(count, channels, height, width, generator=rng(9))


def test_no_reach_changes_nothing() -> None:
    torch.testing.assert_close(Augmentation(**STILL)(photos(), rng()), photos(), atol=1e-5, rtol=0)


def test_certain_flips_turn_an_image_round() -> None:
    turned = Augmentation(**{**STILL, "flip": 1})(photos(), rng())
    torch.testing.assert_close(turned, photos().flip(2, 3), atol=1e-5, rtol=0)


def test_a_shift_stays_within_its_share_of_the_side() -> None:
    dot = torch.zeros(200, 1, 21, 21)
    dot[:, :, 10, 10] = 1
    moved = Augmentation(**{**STILL, "shift": 0.1})(dot, rng())
    places = moved.flatten(1).argmax(1)
    offsets = torch.stack([places // 21 - 10, places % 21 - 10])
    assert offsets.abs().max() == 2  # a tenth of 21 pixels
    assert offsets.unique().tolist() == [-2, -1, 0, 1, 2]


def test_what_comes_from_outside_is_black() -> None:
    maps = Augmentation(**{**STILL, "shift": 0.5})
    white = maps(torch.ones(50, 1, 8, 8), rng())
    assert white.min() == 0
    assert white.max() == pytest.approx(1)


def test_every_image_draws_its_own_map_from_the_given_generator() -> None:
    same = photos(1).expand(4, -1, -1, -1)
    first, again, other = (Augmentation()(same, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.allclose(first[0], first[1])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 9, 17)])
def test_bytes_stay_bytes_of_the_same_shape(shape: tuple[int, int, int]) -> None:
    images = torch.randint(0, 256, (7, *shape), generator=rng(), dtype=torch.uint8)
    out = augment(images, rng(), batch=3)
    assert out.shape == images.shape
    assert out.dtype == torch.uint8
    assert torch.equal(
        images, torch.randint(0, 256, (7, *shape), generator=rng(), dtype=torch.uint8)
    )


@pytest.mark.parametrize("wrong", [{"rotation": -1}, {"flip": 1.5}, {"shift": 0.6}, {"zoom": 1}])
def test_reaches_are_validated(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augmentation(**wrong)

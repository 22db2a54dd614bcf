"""What an image draws is its own."""

from __future__ import annotations

import torch

from dpbench.extractors.draws import normal_of_each

IMAGES = torch.randint(0, 256, (50, 1, 8, 8), generator=torch.Generator().manual_seed(0))
IMAGES = IMAGES.to(torch.uint8)


def test_no_image_moves_the_numbers_of_another() -> None:
    whole = normal_of_each(IMAGES, 4, seed=1)
    assert torch.equal(normal_of_each(IMAGES[7:], 4, seed=1), whole[7:])  # removed
    assert torch.equal(normal_of_each(IMAGES.flip(0), 4, seed=1), whole.flip(0))  # elsewhere
    blank = IMAGES.clone()
    blank[7] = 0
    moved = (normal_of_each(blank, 4, seed=1) != whole).any(1)
    assert moved.nonzero().flatten().tolist() == [7]


def test_numbers_are_normal_and_follow_the_seed() -> None:
    draws = normal_of_each(IMAGES, 200, seed=1)
    assert abs(float(draws.mean())) < 0.05
    assert abs(float(draws.std()) - 1) < 0.05
    assert not torch.equal(normal_of_each(IMAGES, 200, seed=2), draws)

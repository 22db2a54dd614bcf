"""What the kit asks of a public model, and that images move as they should."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch
from dpbench_lively import LivelyAutoencoder, LivelyParams, register_public_models
from dpbench_lively.moves import NUMBERS, Moves

from dpbench.testing import PublicModelKit

STILL = Moves(rotation=0, scale=0, shear=0, shift=0, bend=0)


@pytest.mark.filterwarnings("ignore:cov")  # of one image's latents
class TestLively(PublicModelKit):
    plugin, params = LivelyAutoencoder, {"epochs": 2}


def model(**params: object) -> LivelyAutoencoder:
    torch.manual_seed(0)
    made = LivelyAutoencoder(LivelyParams.model_validate(params), (1, 28, 28))
    return made.eval().requires_grad_(False)


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["lively"]
    assert metadata.EntryPoint("lively", entry, "dpbench").load().register_public_models
    found: list[type] = []
    register_public_models(found.append)
    assert found == [LivelyAutoencoder]


def test_who_descends_sees_the_plain_decoder() -> None:
    lively, latents = model(), torch.randn(4, 32)
    plain = lively.decoder(latents)
    seen = lively.decode(latents.clone().requires_grad_()).detach()
    assert torch.equal(seen, plain)
    assert (lively.decode(latents) - plain).abs().max() > 0.01


def test_near_latents_move_differently_and_one_always_the_same() -> None:
    lively, latents = model(), torch.randn(1, 32).repeat(2, 1)
    latents[1] += 1e-3
    first, second = lively.decode(latents)
    torch.testing.assert_close(lively.decode(latents[:1])[0], first, atol=1e-5, rtol=0)
    plain = (lively.decoder(latents[:1]) - lively.decoder(latents[1:])).abs().max()
    assert (first - second).abs().max() > 3 * plain


def test_still_images_are_the_autoencoder_s() -> None:
    lively, latents = model(moves=STILL), torch.randn(4, 32)
    torch.testing.assert_close(lively.decode(latents), lively.decoder(latents), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("move", "number", "shift"),
    [({"shift": 0.125}, 4, (0, 1)), ({"shift": 0.125}, 5, (1, 0))],
)
def test_a_shift_is_a_fraction_of_the_side(
    move: dict[str, float], number: int, shift: tuple[int, int]
) -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 3, 3] = 1
    numbers = torch.full((1, NUMBERS), 0.5)
    numbers[0, number] = 0.0  # as far as it goes, against the axis
    moved = STILL.model_copy(update=move)(image, numbers)
    torch.testing.assert_close(moved, image.roll(shift, (2, 3)), atol=1e-5, rtol=0)

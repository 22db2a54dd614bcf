"""What the kit asks of a public model, and that images become as crisp as they should."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch
from dpbench_lively.crisp import CrispAutoencoder, CrispParams, register_public_models
from scipy.ndimage import gaussian_filter

from dpbench.testing import PublicModelKit


@pytest.mark.filterwarnings("ignore:cov")  # of one image's latents
class TestCrisp(PublicModelKit):
    plugin, params = CrispAutoencoder, {"epochs": 2}


def model(shape: tuple[int, int, int] = (1, 28, 28), **params: object) -> CrispAutoencoder:
    torch.manual_seed(0)
    made = CrispAutoencoder(CrispParams.model_validate(params), shape)
    return made.eval().requires_grad_(False)


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["crisp"]
    assert metadata.EntryPoint("crisp", entry, "dpbench").load().register_public_models
    found: list[type] = []
    register_public_models(found.append)
    assert found == [CrispAutoencoder]


def test_who_descends_sees_the_plain_decoder() -> None:
    crisp, latents = model(), torch.randn(4, 32)
    plain = crisp.decoder(latents)
    assert torch.equal(crisp.decode(latents.clone().requires_grad_()).detach(), plain)
    assert (crisp.decode(latents) - plain).abs().max() > 0.01


def test_neither_sharpened_nor_grained_is_the_autoencoder_s() -> None:
    crisp, latents = model(sharpen=0, grain=0), torch.randn(4, 32)
    torch.testing.assert_close(crisp.decode(latents), crisp.decoder(latents), atol=1e-6, rtol=0)


def test_a_latent_always_has_one_image_and_its_neighbour_another() -> None:
    crisp, latents = model(), torch.randn(1, 32).repeat(2, 1)
    latents[1] += 1e-3
    first, second = crisp.decode(latents)
    torch.testing.assert_close(crisp.decode(latents[:1])[0], first, atol=1e-5, rtol=0)
    plain = (crisp.decoder(latents[:1]) - crisp.decoder(latents[1:])).abs().max()
    assert (first - second).abs().max() > 3 * plain


def test_sharpening_adds_a_share_of_what_a_blur_takes_away() -> None:
    crisp, latents = model(sharpen=0.1, grain=0), torch.randn(50, 32)
    plain = crisp.decoder(latents)
    detail = plain - torch.from_numpy(gaussian_filter(plain.numpy(), 1.0, axes=(2, 3)))
    added = crisp.decode(latents) - plain
    added, detail = added[..., 5:-5, 5:-5], detail[..., 5:-5, 5:-5]  # borders differ
    shares = (added * detail).sum((1, 2, 3)) / detail.square().sum((1, 2, 3))
    assert 0 <= shares.min() < 0.02 and 0.08 < shares.max() < 0.101


def test_grain_is_of_its_standard_deviation_at_most_and_of_every_colour() -> None:
    crisp, latents = model((3, 32, 32), sharpen=0, grain=0.05), torch.randn(100, 32)
    plain = crisp.decoder(latents)
    assert plain.min() > 0.2 and plain.max() < 0.8  # an untrained decoder's: nothing is cut
    noise = crisp.decode(latents) - plain
    spread = noise.std((1, 2, 3))
    assert 0.045 < spread.max() < 0.052 and spread.min() < 0.01
    assert noise.mean().abs() < 1e-3
    red, green, _ = noise.unbind(1)
    assert abs(float((red * green).mean())) < 0.02 * float(red.square().mean())

import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import torch
from dpbench_pixel import DPGAN, PixelExtractor, Pixels
from dpbench_pixel.networks import Critic, Generator
from torch import Tensor

from dpbench.api import Context, Params
from dpbench.plugins import Registry
from dpbench.testing import ExtractorKit, Fit, GeneratorKit, PublicModelKit, fit

SHAPE = (1, 8, 8)
SMALL = {"width": 2, "latent": 4, "fakes": 32, "pretrain_steps": 20, "batch": 64, "steps": 30}


class TestDPGAN(GeneratorKit):
    plugin = DPGAN
    params: ClassVar[dict[str, Any]] = {
        "width": 1,
        "latent": 2,
        "fakes": 4,
        "batch": 16,
        "pretrain_steps": 1,
        "steps": 4,
    }


class TestPixels(PublicModelKit):
    plugin = Pixels


class TestPixelExtractor(ExtractorKit):
    plugin = PixelExtractor


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bars(size: int, lower: bool, seed: int = 0) -> Tensor:
    """Dim noise with a bright bar in the upper or the lower half, flat, ``[size, 64]``."""
    images = 0.1 * torch.rand(size, 8, 8, generator=rng(seed))
    images[:, 5 if lower else 1] += 0.8
    return images.flatten(1)


PUBLIC, PRIVATE = bars(500, lower=False), bars(2000, lower=True, seed=1)


def fitted(epsilon: float, **params: Any) -> Fit:
    return fit(DPGAN, PRIVATE, PUBLIC, epsilon=epsilon, **{**SMALL, **params})


def test_the_package_registers_a_model_an_extractor_and_a_generator() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["pixel"]
    registry = Registry()
    registry.add(metadata.EntryPoint("pixel", entry, "dpbench").load(), "dpbench-pixel", "1")
    assert [entry.cls for entry in registry] == [Pixels, PixelExtractor, DPGAN]
    assert PixelExtractor.requires <= Pixels.provides
    assert DPGAN.requires <= Pixels.provides


def test_latents_are_the_pixels_and_decode_to_the_image() -> None:
    images = torch.randint(0, 256, (5, 3, 8, 6), dtype=torch.uint8, generator=rng(2))
    model = Pixels(Params(), (3, 8, 6))
    latents = PixelExtractor(Params()).extract(model, images, Context(0))
    assert latents.shape == (5, model.latent_dim)
    torch.testing.assert_close(model.decode(latents), images / 255)
    assert float(model.decode(latents * 9).max()) == 1


def test_networks_fit_images_of_any_size() -> None:
    for shape in ((1, 28, 28), (3, 7, 5), (1, 1, 2)):
        made = Generator(shape, 4, 2)(torch.randn(3, 4, generator=rng(3)))
        assert made.shape == (3, shape[0] * shape[1] * shape[2])
        assert Critic(shape, 2)(made).shape == (3,)


def test_all_of_the_budget_goes_to_the_critics_steps() -> None:
    private = fitted(1.0).private
    (mechanism,) = private.ledger.mechanisms
    assert mechanism.count == 30
    assert 0.98 < private.spent.epsilon <= 1


def test_samples_lie_between_the_least_and_the_greatest_public_pixel() -> None:
    made = fitted(1.0, steps=3).sample(50)
    assert made.min() >= PUBLIC.min()
    assert made.max() <= PUBLIC.max()


def test_private_steps_move_it_from_public_images_to_private_ones() -> None:
    settings = {
        "width": 4,
        "fakes": 32,
        "critic_steps": 1,
        "critic_rate": 2e-3,
        "generator_rate": 2e-3,
        "average": 0.9,
        "pretrain_steps": 120,
    }
    before = fitted(10.0, **settings, steps=1).sample(200).view(-1, 8, 8)
    after = fitted(10.0, **settings, steps=50).sample(200).view(-1, 8, 8)
    assert before[:, 1].mean() > before[:, 5].mean() + 0.2
    assert after[:, 5].mean() > after[:, 1].mean() + 0.2

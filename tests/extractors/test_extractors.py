"""From images to latents: every image by itself, within its bound, closer than it began."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import make_images
from torch import Tensor

from dpbench.api import Context, Extractor, PublicModel, derive_seed, to_float
from dpbench.extractors.draws import normal_of_each
from dpbench.extractors.encoder import EncoderExtractor
from dpbench.extractors.gradient import GradientExtractor, ProjectedGradientExtractor
from dpbench.public.ae import Autoencoder
from dpbench.public.wgan import WGAN

SMALL = {"latent": 8, "width": 3, "hidden": 24, "augmentation": "none"}
PAIRS = [
    pytest.param("ae", EncoderExtractor, {}, id="encoder"),
    pytest.param("ae", GradientExtractor, {}, id="gradient"),
    pytest.param("ae", GradientExtractor, {"knee": 0, "prior": 0.5}, id="gradient with prior"),
    pytest.param("ae", GradientExtractor, {"warm_start": False}, id="gradient from the mean"),
    pytest.param("ae", GradientExtractor, {"steps": 24, "tolerance": 0.2}, id="gradient, stopping"),
    pytest.param("ae", GradientExtractor, {"optimiser": "plain"}, id="plain gradient"),
    pytest.param("wgan", ProjectedGradientExtractor, {}, id="projected"),
    pytest.param("wgan", ProjectedGradientExtractor, {"warm_start": False}, id="projected, cold"),
    pytest.param("wgan", ProjectedGradientExtractor, {"optimiser": "plain"}, id="projected, plain"),
]


@pytest.fixture(scope="module")
def models() -> dict[str, PublicModel]:
    """Briefly trained public models, frozen as the harness hands them out."""
    x = make_images(200, 2).images
    ae = Autoencoder(Autoencoder.Params(**SMALL, epochs=3), (1, 16, 16))
    gan = WGAN(WGAN.Params(**SMALL, steps=10), (1, 16, 16))
    for model in (ae, gan):
        model.fit(x, Context(seed=0))
        model.eval().requires_grad_(False)
    return {"ae": ae, "wgan": gan}


def extract(cls: type[Extractor], params: Any, model: PublicModel, x: Tensor) -> Tensor:
    return cls(cls.Params.model_validate(params)).extract(model, x, Context(seed=3))


def errors(model: PublicModel, z: Tensor, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return (model.decode(z) - to_float(x)).square().flatten(1).sum(1)


@pytest.mark.parametrize(("name", "cls", "params"), PAIRS)
def test_one_latent_per_image_and_the_same_every_time(
    models: dict[str, PublicModel], name: str, cls: type[Extractor], params: Any
) -> None:
    x = make_images(20, 5).images
    z = extract(cls, params, models[name], x)
    assert z.shape == (20, 8)
    assert (z.dtype, z.device.type, z.requires_grad) == (torch.float32, "cpu", False)
    assert torch.isfinite(z).all()
    assert torch.equal(z, extract(cls, params, models[name], x))


@pytest.mark.parametrize(("name", "cls", "params"), PAIRS)
def test_a_latent_does_not_depend_on_the_images_around_it(
    models: dict[str, PublicModel], name: str, cls: type[Extractor], params: Any
) -> None:
    x = make_images(20, 5).images
    others = torch.cat([x[:10], torch.full_like(x[10:], 255)])
    together = extract(cls, params, models[name], x)
    fewer = extract(cls, params, models[name], x[:10])
    beside = extract(cls, params, models[name], others)
    alone = extract(cls, params, models[name], x[:1])
    close: dict[str, Any] = {
        "atol": 2e-3,
        "rtol": 1e-3,
    }  # other batch sizes round otherwise, step after step
    torch.testing.assert_close(together[:10], fewer, **close)
    torch.testing.assert_close(together[:10], beside[:10], **close)
    if name == "ae":
        torch.testing.assert_close(together[:1], alone, **close)


@pytest.mark.parametrize(("name", "cls", "params"), PAIRS[1:])
def test_results_do_not_depend_on_the_batch(
    models: dict[str, PublicModel], name: str, cls: type[Extractor], params: Any
) -> None:
    x = make_images(20, 5).images
    whole = extract(cls, params, models[name], x)
    parts = extract(cls, {**params, "batch": 7}, models[name], x)
    torch.testing.assert_close(whole, parts, atol=2e-3, rtol=1e-3)


def test_the_encoder_extractor_is_the_models_encoder(models: dict[str, PublicModel]) -> None:
    x = make_images(20, 5).images
    with torch.inference_mode():
        expected = models["ae"].encode(to_float(x))
    assert torch.equal(extract(EncoderExtractor, {}, models["ae"], x), expected)


@pytest.mark.parametrize("optimiser", ["lbfgs", "plain"])
@pytest.mark.parametrize("steps", [1, 30])
def test_projected_latents_are_as_likely_as_their_draw(
    models: dict[str, PublicModel], steps: int, optimiser: str
) -> None:
    x = make_images(64, 5).images
    params = {"steps": steps, "optimiser": optimiser, "stride": 9.0, "step_size": 1e4}
    z = extract(ProjectedGradientExtractor, params, models["wgan"], x)
    draws = normal_of_each(x, 8, derive_seed(3, "z0"))
    bound = draws.norm(dim=1)
    assert (z.norm(dim=1) <= bound * (1 + 1e-5)).all()
    assert torch.isclose(z.norm(dim=1), bound, rtol=1e-4).any()  # the bound is at work


@pytest.mark.parametrize("optimiser", ["lbfgs", "plain"])
def test_gradient_steps_lower_every_images_error(
    models: dict[str, PublicModel], optimiser: str
) -> None:
    model, x = models["ae"], make_images(40, 6).images
    how = {"knee": 0, "tolerance": 0, "optimiser": optimiser}
    start = extract(EncoderExtractor, {}, model, x)
    few, many = (extract(GradientExtractor, {**how, "steps": steps}, model, x) for steps in (5, 40))
    before, between, after = (errors(model, z, x) for z in (start, few, many))
    assert (between <= before * (1 + 1e-5)).all()
    assert (after <= between * (1 + 1e-5)).all()
    assert after.mean() < between.mean() < before.mean()


def test_projected_steps_lower_the_error(models: dict[str, PublicModel]) -> None:
    model, x = models["wgan"], make_images(40, 6).images
    few, many = (
        extract(ProjectedGradientExtractor, {"steps": steps, "knee": 0}, model, x)
        for steps in (1, 40)
    )
    assert errors(model, many, x).mean() < errors(model, few, x).mean()


def test_a_strong_prior_holds_latents_at_the_public_mean(models: dict[str, PublicModel]) -> None:
    model, x = models["ae"], make_images(40, 6).images
    mean, precision = model.latent_statistics()

    def distance(prior: float) -> Tensor:
        z = extract(GradientExtractor, {"steps": 40, "prior": prior}, model, x) - mean
        return torch.einsum("bi,ij,bj->b", z, precision, z).mean()

    assert distance(100.0) < distance(0.0)


def test_a_model_without_a_guess_can_be_inverted_too() -> None:
    x = make_images(40, 2).images
    model = WGAN(WGAN.Params(**SMALL, steps=2, inference=0), (1, 16, 16))
    model.fit(x, Context(seed=0))
    model.eval().requires_grad_(False)
    assert model.guess(to_float(x)) is None
    assert extract(ProjectedGradientExtractor, {}, model, x).shape == (40, 8)

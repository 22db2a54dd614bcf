"""Both public models, in every architecture and loss, on images of several shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fakes import make_images

from dpbench.api import Context, PublicModel, to_float
from dpbench.public.ae import Autoencoder
from dpbench.public.wgan import WGAN

SMALL = {"latent": 5, "width": 2, "hidden": 12, "batch": 8}
AE: dict[str, Any] = {**SMALL, "epochs": 1}
GAN: dict[str, Any] = {**SMALL, "critic_hidden": 8, "steps": 2, "penalty_every": 1}
VARIANTS = [
    pytest.param(cls, {**base, "architecture": kind, "loss": loss}, id=f"{kind} {loss}")
    for cls, base, losses in (
        (Autoencoder, AE, ("robust", "squared")),
        (WGAN, GAN, ("wgan", "wgan-gp", "relativistic")),
    )
    for kind in ("conv", "fc")
    for loss in losses
]
OTHERS = [
    pytest.param(
        Autoencoder, {**AE, "schedule": "constant", "noise": 0, "prior": 0}, id="ae plain"
    ),
    pytest.param(Autoencoder, {**AE, "augmentation": "none", "average": 0}, id="ae unaugmented"),
    pytest.param(Autoencoder, {**AE, "latent": 1}, id="ae of one latent"),
    pytest.param(Autoencoder, {**AE, "batch": 500}, id="ae of one batch"),
    pytest.param(WGAN, {**GAN, "inference": 0}, id="wgan without inference"),
    pytest.param(WGAN, {**GAN, "augmentation": "none", "average": 0}, id="wgan unaugmented"),
    pytest.param(WGAN, {**GAN, "critic_steps": 3, "schedule": "constant"}, id="wgan critic"),
]
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 30, 30), (3, 17, 23)]


def images(shape: tuple[int, int, int] = (1, 16, 16), count: int = 20) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, *shape), generator=rng, dtype=torch.uint8)


def fitted(cls: type[PublicModel], params: dict[str, Any], x: torch.Tensor, seed: int = 1) -> Any:
    model = cls(cls.Params.model_validate(params), (x.shape[1], x.shape[2], x.shape[3]))
    model.fit(x, Context(seed=seed))
    return model


def same(first: PublicModel, second: PublicModel) -> bool:
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


@pytest.mark.parametrize(("cls", "params"), [*VARIANTS, *OTHERS])
def test_fits_repeat_restore_and_decode_to_images(
    cls: type[PublicModel], params: dict[str, Any]
) -> None:
    x = images()
    model = fitted(cls, params, x)
    torch.manual_seed(99)  # of no consequence: each model draws from its own generators
    assert same(model, fitted(cls, params, x))
    assert not same(model, fitted(cls, params, x, seed=2))

    restored = cls(cls.Params.model_validate(params), (1, 16, 16))
    restored.load_state_dict(model.state_dict())
    restored.eval()
    z = 3 * torch.randn(7, model.latent_dim)
    decoded = model.decode(z)
    assert torch.equal(restored.decode(z), decoded)
    assert decoded.shape == (7, 1, 16, 16)
    assert decoded.min() >= 0
    assert decoded.max() <= 1
    assert not model.training


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("architecture", ["conv", "fc"])
@pytest.mark.parametrize(("cls", "params"), [(Autoencoder, AE), (WGAN, GAN)], ids=["ae", "wgan"])
def test_images_of_any_shape(
    cls: type[PublicModel], params: dict[str, Any], architecture: str, shape: Any
) -> None:
    x = images(shape, 10)
    model = fitted(cls, {**params, "architecture": architecture}, x)
    assert model.decode(torch.zeros(3, 5)).shape == (3, *shape)
    start = model.guess(to_float(x))
    assert start is not None
    assert start.shape == (10, 5)
    mean, precision = model.latent_statistics()
    assert (mean.shape, precision.shape) == ((5,), (5, 5))
    assert torch.linalg.eigvalsh(precision.double()).min() > 0


@pytest.mark.parametrize(("cls", "params"), [(Autoencoder, AE), (WGAN, GAN)], ids=["ae", "wgan"])
def test_an_image_is_encoded_by_itself(cls: type[PublicModel], params: dict[str, Any]) -> None:
    model = fitted(cls, params, images())
    x = to_float(images(count=9))
    with torch.inference_mode():
        together = model.guess(x)
        alone = torch.cat([model.guess(one[None]) for one in x])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("cls", "params"), [(Autoencoder, AE), (WGAN, GAN)], ids=["ae", "wgan"])
def test_fitting_leaves_the_global_generator_alone(
    cls: type[PublicModel], params: dict[str, Any]
) -> None:
    model = cls(cls.Params.model_validate(params), (1, 16, 16))
    before = torch.get_rng_state()
    model.fit(images(), Context(seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_decoding_can_be_differentiated() -> None:
    model = fitted(WGAN, GAN, images())
    z = torch.randn(2, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(model.decode(z).sum(), z)
    assert gradient.abs().sum() > 0


def test_progress_reaches_the_end() -> None:
    models: list[tuple[type[PublicModel], dict[str, Any]]] = [(Autoencoder, AE), (WGAN, GAN)]
    for cls, params in models:
        heard: list[float] = []
        model = cls(cls.Params.model_validate(params), (1, 16, 16))
        model.fit(images(), Context(seed=0, on_progress=heard.append))
        assert heard == sorted(heard)
        assert heard[-1] == 1.0


def test_an_autoencoder_learns() -> None:
    x = make_images(400, 2).images
    params = {**SMALL, "epochs": 10, "augmentation": "none", "schedule": "constant"}
    model = fitted(Autoencoder, params, x)
    with torch.inference_mode():
        error = (model.decode(model.encode(to_float(x))) - to_float(x)).square().mean()
    spread = (to_float(x) - to_float(x).mean(0)).square().mean()
    assert error < 0.5 * spread


def test_clipped_critics_stay_clipped() -> None:
    model = fitted(WGAN, {**GAN, "loss": "wgan", "weight_clip": 0.003, "average": 0}, images())
    assert max(float(weight.detach().abs().max()) for weight in model.critic.parameters()) <= 0.0031


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [(Autoencoder, {"latent": 0}), (Autoencoder, {"loss": "mse"}), (WGAN, {"loss": "hinge"}),
     (WGAN, {"batch": 1}), (WGAN, {"steps": 0}), (Autoencoder, {"average": 1.0})],
)  # fmt: skip
def test_hyperparameters_are_validated(cls: type[PublicModel], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        cls.Params.model_validate(wrong)

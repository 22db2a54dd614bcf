"""GAN and VAE where records have labels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.gan import GAN
from dpbench.generators.gan_lanes import add_free_gradient
from dpbench.generators.mixture import Mixture
from dpbench.generators.vae import VAE
from dpbench.privacy.by_class import draw, make_generator
from dpbench.privacy.handle import Budget
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP
from dpbench.privacy.session import PrivateSession

from .small import DIM, private_latents, public_latents

LATENTS = private_latents()
LABELS = (LATENTS[:, 0] > 0).long()
"""The two clusters are the classes."""
CLASSES = 2
Built = type[GAN] | type[VAE]


def session(epsilon: float, seed: int = 0) -> PrivateSession:
    return PrivateSession(
        LATENTS,
        Budget(epsilon, 1e-6),
        0.5,
        Context(seed),
        noise_seed=seed,
        labels=LABELS,
        classes=CLASSES,
    )


def fitted(cls: Built, whole: PrivateSession, **settings: Any) -> Any:
    params = cls.Params(**{"hidden": (16,), **settings})
    model = make_generator(cls, params, DIM, CLASSES)
    model.fit(whole.handle, public_latents(), whole.context)
    return model


def class_means(model: Any) -> Tensor:
    latents, labels = draw(model, 2000, torch.Generator().manual_seed(1), CLASSES)
    assert labels is not None
    return torch.stack([latents[labels == k].mean(0)[0] for k in range(CLASSES)])


@pytest.mark.parametrize(
    ("cls", "prior", "steps"),
    [
        (GAN, "normal", 700),
        (GAN, "gaussian", 40),
        (VAE, "normal", 250),
        (VAE, "gaussian", 40),
        (VAE, "mixture", 40),
    ],
)
def test_without_noise_samples_of_a_class_lie_where_its_records_do(
    cls: Built, prior: str, steps: int
) -> None:
    model = fitted(cls, session(math.inf), prior=prior, steps=steps, batch=512)
    torch.testing.assert_close(class_means(model), torch.tensor([-2.5, 2.5]), rtol=0, atol=0.6)


@pytest.mark.parametrize("prior", ["normal", "mixture"])
@pytest.mark.parametrize("cls", [GAN, VAE])
def test_it_spends_its_budget_once_for_all_classes(cls: Built, prior: str) -> None:
    whole = session(2.0)
    fitted(cls, whole, prior=prior, steps=20)
    assert 0.97 * 2 < whole.spent.epsilon <= 2.0
    classes = {entry.name: entry.classes for entry in whole.ledger.mechanisms}
    assert classes.pop("dp-sgd") == 1  # one network sees all records
    assert set(classes.values()) <= {CLASSES}


@pytest.mark.parametrize("prior", ["normal", "mixture"])
@pytest.mark.parametrize("cls", [GAN, VAE])
def test_lanes_together_equal_lanes_alone(cls: Built, prior: str) -> None:
    settings = {"hidden": (16,), "prior": prior, "steps": 15}
    sessions = [session(epsilon, seed=3) for epsilon in (1.0, 8.0)]
    models: list[Any] = [make_generator(cls, cls.Params(**settings), DIM, 2) for _ in sessions]
    handles, contexts = [s.handle for s in sessions], [s.context for s in sessions]
    cls.fit_lanes(models, handles, public_latents(), contexts)
    alone = fitted(cls, session(8.0, seed=3), **settings)
    torch.testing.assert_close(models[1].flat, alone.flat, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("cls", "settings"), [(GAN, {}), (VAE, {"output": "fixed", "modes": 0, "prior": "mixture"})]
)
def test_engines_agree_without_noise(cls: Built, settings: dict[str, Any]) -> None:
    flats = [
        fitted(cls, session(math.inf), steps=8, batch=200, engine=engine, **settings).flat
        for engine in ("lanes", "opacus")
    ]
    if cls is GAN:  # a VAE's noise meets other records there
        torch.testing.assert_close(*flats, rtol=1e-3, atol=1e-4)
    assert all(bool(torch.isfinite(flat).all()) for flat in flats)


@pytest.mark.parametrize("prior", ["normal", "gaussian", "mixture"])
@pytest.mark.parametrize("cls", [GAN, VAE])
def test_state_restores_the_samples_of_every_class(cls: Built, prior: str) -> None:
    model = fitted(cls, session(math.inf), prior=prior, steps=3)
    copy = make_generator(cls, model.params, DIM, CLASSES)
    copy.restore(model.state())
    samples = [draw(m, 9, torch.Generator().manual_seed(5), CLASSES)[0] for m in (model, copy)]
    assert torch.equal(*samples)


def test_the_penalty_leaves_the_class_alone() -> None:
    """The critic may differ between classes as much as it likes."""
    rng = torch.Generator().manual_seed(0)
    critic = LaneMLP((DIM + CLASSES, 8, 1))
    params = LaneBuffer.zeros(critic.layers, 1)
    params.initialise([rng])
    x = torch.randn(1, 6, DIM + CLASSES, generator=rng)
    out = params.like()
    tape = critic.forward(params, x)
    add_free_gradient(critic, params, x, None, tape, None, 2.0, out, CLASSES)
    weights = LaneBuffer(params.layers, params.flat.clone().requires_grad_())
    points = x.clone().requires_grad_()
    value = critic.forward(weights, points).output.sum()
    (slopes,) = torch.autograd.grad(value, points, create_graph=True)
    slopes[..., :DIM].square().sum(-1).mean().backward()  # penalty / 2 = 1
    assert weights.flat.grad is not None
    torch.testing.assert_close(out.flat, weights.flat.grad, rtol=1e-4, atol=1e-6)


def test_a_mixture_of_classes_draws_what_was_asked_for() -> None:
    one = Mixture(torch.tensor([0.2, 0.8]), torch.zeros(2, DIM), torch.eye(DIM).repeat(2, 1, 1))
    far = Mixture(one.weights, one.means + 50, one.factors)
    both = Mixture.of_classes([one, far])
    labels = torch.tensor([0, 1, 1, 0, 1] * 100)
    made = both.sample(500, torch.Generator().manual_seed(0), labels)
    assert torch.equal(made[:, 0] > 25, labels == 1)
    which, _ = both.draw(500, torch.Generator().manual_seed(0), labels)
    assert 0.7 < float((which[labels == 1] == 3).float().mean()) < 0.9
    own = torch.nn.functional.one_hot(labels, 2)
    shares = both.responsibilities(torch.zeros(500, DIM), own)
    assert torch.equal(shares.view(500, 2, 2).sum(2) > 0.5, own.bool())

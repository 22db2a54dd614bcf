"""Components along the directions that vary most."""

from __future__ import annotations

import math
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
import torch
from dpbench_mixture.leading import TaughtMixture, TaughtMixtureParams, register_generators
from torch import Tensor

from dpbench.api import Context
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.session import PrivateSession
from dpbench.testing import GeneratorKit

DIM, CLASSES = 6, 3


class TestTaughtMixture(GeneratorKit):
    plugin = TaughtMixture


def rings(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Rings in two directions, one for each class; a third direction leans on the first."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    latents = 0.3 * torch.randn(count, DIM, generator=rng)
    angle = 2 * math.pi * torch.rand(count, generator=rng)
    turns = torch.stack([angle.cos(), angle.sin()], 1)
    latents[:, 3:5] += (2.0 + labels.unsqueeze(1)) * turns
    latents[:, 0] += 0.5 * latents[:, 3]
    return latents, labels


LATENTS, LABELS = rings(6000, 0)


def handle(epsilon: float, labelled: bool = True) -> PrivateLatents:
    session = PrivateSession(
        LATENTS,
        Budget(epsilon, 1e-6),
        1.0,
        Context(0),
        noise_seed=9,
        labels=LABELS if labelled else None,
        classes=CLASSES if labelled else 1,
    )
    return session.handle


@cache
def fitted(epsilon: float, **params: float) -> tuple[TaughtMixture, PrivateLatents]:
    private = handle(epsilon)
    given = TaughtMixtureParams.model_validate({"leading": 2, "components": 12, **params})
    generator = TaughtMixture(given, DIM, CLASSES)
    generator.fit(private, torch.randn(500, DIM), private.context)
    return generator, private


def drawn(generator: TaughtMixture, count: int = 6000) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % CLASSES
    return generator.sample(count, torch.Generator().manual_seed(1), labels), labels


@pytest.mark.parametrize("epsilon", [1.0, 10.0])
def test_classifier_gaussians_and_components_together_spend_the_budget(epsilon: float) -> None:
    _, private = fitted(epsilon, width=1.0)
    assert private.ledger.trust == "ledger"
    assert 0.98 * epsilon <= private.spent.epsilon <= epsilon
    names = [use.name.removeprefix("taught-mixture:") for use in private.ledger.mechanisms]
    wanted = ["classifier", "norms", "common", "means", "spread", "centres", "parts"]
    assert names == wanted


@pytest.mark.parametrize("epsilon", [10.0, math.inf])
def test_components_follow_what_no_gaussian_does(epsilon: float) -> None:
    generator, _ = fitted(epsilon, width=1.0)
    latents, labels = drawn(generator)
    radius = latents[:, 3:5].norm(dim=1)
    for label in range(CLASSES):
        own = radius[labels == label]
        assert abs(float(own.mean()) - (2 + label)) < 0.25
        assert float((own < 1).float().mean()) < 0.03  # a Gaussian's: a tenth and more
    gaussian, _ = fitted(epsilon, width=1.0, components=1)
    assert (gaussian.mixture.sample(6000, torch.Generator())[:, 3:5].norm(dim=1) < 1).sum() > 600


def test_what_leads_says_where_the_rest_lies() -> None:
    generator, _ = fitted(math.inf, width=1.0)
    latents, _ = drawn(generator)
    torch.testing.assert_close(latents.mean(0), LATENTS.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(latents.T), torch.cov(LATENTS.T), atol=0.25, rtol=0.05)
    leaning = [torch.corrcoef(x.T)[0, 3] for x in (latents, LATENTS)]
    torch.testing.assert_close(*leaning, atol=0.02, rtol=0)


def test_half_of_the_components_are_wider() -> None:
    generator, _ = fitted(1.0, width=4.0)
    factors = generator.mixture.factors.unflatten(0, (CLASSES, 2, -1))
    torch.testing.assert_close(factors[:, 1], 2 * factors[:, 0])
    narrow, _ = fitted(1.0, width=1.0)
    assert torch.equal(narrow.mixture.means, generator.mixture.means)


def test_a_budget_for_few_components_buys_a_gaussian_of_each_class() -> None:
    private = handle(0.1)
    generator = TaughtMixture(TaughtMixtureParams(leading=4), DIM, CLASSES)
    generator.fit(private, torch.randn(500, DIM), private.context)
    assert len(generator.mixture.weights) == CLASSES
    assert 0.098 <= private.spent.epsilon <= 0.1


def test_without_labels_it_is_a_gaussian() -> None:
    private = handle(1.0, labelled=False)
    generator = TaughtMixture(TaughtMixtureParams(), DIM)
    generator.fit(private, torch.randn(500, DIM), private.context)
    assert len(private.ledger.mechanisms) == 1
    assert generator.sample(5, torch.Generator()).shape == (5, DIM)


def test_a_stored_one_draws_the_same() -> None:
    generator, _ = fitted(10.0, width=1.0)
    again = TaughtMixture(TaughtMixtureParams(), DIM, CLASSES)
    again.restore(generator.state())
    first, second = drawn(generator, 90)[0], drawn(again, 90)[0]
    assert torch.equal(first, second) and torch.isfinite(first).all()


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["taught-mixture"]
    assert metadata.EntryPoint("taught-mixture", entry, "dpbench").load().register_generators
    found: list[type] = []
    register_generators(found.append)
    assert found == [TaughtMixture]

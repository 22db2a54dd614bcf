"""The released mixture: what it finds, what noise does to it, what it costs."""

from __future__ import annotations

import math

import torch

from dpbench.generators.mixture import Mixture, MixtureRecipe, release_mixture
from dpbench.privacy.grouped import release_grouped_sum
from dpbench.privacy.lanes import release_noise

from .small import DIM, handle, private_latents, public_latents


def test_placing_and_standardising_are_inverse() -> None:
    rng = torch.Generator().manual_seed(0)
    factors = torch.randn(3, DIM, DIM, generator=rng).tril() + 3 * torch.eye(DIM)
    mixture = Mixture(torch.tensor([0.2, 0.3, 0.5]), torch.randn(3, DIM, generator=rng), factors)
    which, noise = mixture.draw(100, rng)
    back = mixture.standardise(which, mixture.place(which, noise))
    torch.testing.assert_close(back, noise, rtol=1e-4, atol=1e-4)
    assert mixture.responsibilities(noise).sum(1).allclose(torch.ones(100))


def test_one_component_without_noise_is_the_moments() -> None:
    mixture = release_mixture(handle(), public_latents(), MixtureRecipe(1, 0, 0, 0.0))
    real = private_latents()
    torch.testing.assert_close(mixture.means[0], real.mean(0), atol=0.05, rtol=0)
    covariance = mixture.factors[0] @ mixture.factors[0].T
    torch.testing.assert_close(covariance, torch.cov(real.T), atol=0.2, rtol=0)


def test_components_settle_on_the_clusters() -> None:
    mixture = release_mixture(handle(), public_latents(), MixtureRecipe(2, 3, 5, 0.0))
    assert sorted(round(float(w), 1) for w in mixture.weights) == [0.3, 0.7]
    assert sorted(round(float(m), 1) for m in mixture.means[:, 0]) == [-2.5, 2.5]


def test_a_mixture_survives_heavy_noise_and_uses_its_share() -> None:
    private = handle(epsilon=1.0)
    settings = MixtureRecipe(4, 1, 1, 0.0)
    settings = MixtureRecipe(4, 1, 1, release_noise(private, 0.5, settings.releases))
    mixture = release_mixture(private, public_latents(), settings)
    assert all(bool(t.isfinite().all()) for t in (mixture.means, mixture.factors))
    assert sum(m.count for m in private.ledger.mechanisms) == settings.releases
    # half of the squared signal-to-noise leaves about a root of the budget
    assert 0.6 < private.spent.epsilon < 0.8


def test_groups_share_one_sensitivity() -> None:
    private = handle()
    total = release_grouped_sum(
        private,
        lambda x: (torch.ones(len(x), 3), 100 * x),
        clip=0.5,
        noise_multiplier=0.0,
        name="sum",
    )
    # memberships of norm sqrt(3) are scaled to one, values to the clip
    per_record = 0.5 / math.sqrt(3)
    assert total.shape == (3, DIM)
    assert float(total[0].norm()) <= per_record * private.size * 1.001
    assert private.ledger.mechanisms[0].sensitivity == 0.5

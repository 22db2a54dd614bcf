import math

import pytest
import torch
from dpbench_gaussian import Gaussian, GaussianParams

from dpbench.api import Context
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.session import PrivateSession

DIM = 6
SCALES = torch.linspace(0.3, 1.5, DIM)
PRIVATE = 0.5 + SCALES * torch.randn(4000, DIM, generator=torch.Generator().manual_seed(0))
PUBLIC = torch.randn(1000, DIM, generator=torch.Generator().manual_seed(1))


def fitted(
    epsilon: float, clip: float = 1.0, seed: int = 0, **params
) -> tuple[Gaussian, PrivateLatents]:
    context = Context(seed)
    private = PrivateSession(PRIVATE, Budget(epsilon, 1e-6), clip, context, noise_seed=seed).handle
    generator = Gaussian(GaussianParams(**params), DIM)
    generator.fit(private, PUBLIC, context)
    return generator, private


def test_without_noise_and_clipping_it_is_the_sample_gaussian() -> None:
    generator, _ = fitted(math.inf, radius_per_clip=100.0)
    torch.testing.assert_close(generator.mean, PRIVATE.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        generator.factor @ generator.factor, torch.cov(PRIVATE.T), rtol=1e-2, atol=1e-2
    )


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 10.0])
def test_it_spends_its_budget_in_one_release(epsilon: float) -> None:
    _, private = fitted(epsilon)
    assert len(private.ledger.mechanisms) == 1
    assert private.ledger.trust == "ledger"
    assert 0.98 * epsilon <= private.spent.epsilon <= epsilon


def test_it_is_close_to_the_truth_at_epsilon_one() -> None:
    generator, _ = fitted(1.0)
    made = generator.sample(20_000, torch.Generator().manual_seed(2))
    assert float((made.mean(0) - PRIVATE.mean(0)).norm()) < 0.2
    assert float((torch.cov(made.T) - torch.cov(PRIVATE.T)).norm()) < 1.0


def test_heavy_noise_still_gives_a_valid_covariance() -> None:
    generator, _ = fitted(0.01)
    assert torch.isfinite(generator.factor).all()
    assert float(torch.linalg.eigvalsh(generator.factor).min()) >= -1e-5


def test_a_saved_state_samples_the_same() -> None:
    generator, _ = fitted(1.0)
    other = Gaussian(GaussianParams(), DIM)
    other.restore(generator.state())
    first, second = (g.sample(9, torch.Generator().manual_seed(3)) for g in (generator, other))
    assert torch.equal(first, second)


def test_the_clip_counts_only_when_asked_to() -> None:
    assert torch.equal(fitted(1.0, clip=0.1)[0].factor, fitted(1.0, clip=1.0)[0].factor)
    small, large = (fitted(math.inf, clip=c, radius_per_clip=2.0)[0] for c in (0.1, 1.0))
    assert float(small.factor.norm()) < float(large.factor.norm())

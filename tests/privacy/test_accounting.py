import math
from statistics import NormalDist

import pytest

from dpbench.errors import DpbenchError
from dpbench.privacy import accounting
from dpbench.privacy.accounting import BudgetExhausted, compose, noise_multiplier_for
from dpbench.privacy.ledger import Mechanism

DELTA = 1e-6


def use(sigma: float, rate: float = 1.0, count: int = 1, name: str = "m") -> Mechanism:
    return Mechanism(name=name, noise_multiplier=sigma, sampling_rate=rate, count=count)


def gaussian_delta(epsilon: float, sigma: float) -> float:
    """Exact delta of one Gaussian mechanism (Balle and Wang 2018, Theorem 8)."""
    cdf = NormalDist().cdf
    left = 1 / (2 * sigma) - epsilon * sigma
    return cdf(left) - math.exp(epsilon) * cdf(left - 1 / sigma)


# Epsilon at delta = 1e-6 by dp-accounting 0.6's privacy loss distributions at its own default
# mesh (1e-4; 1e-3 above epsilon = 50), which the harness does not use.
PINNED = [
    (5.0, 1024 / 19612, 1000, 1.46760),
    (3.0, 0.05, 2000, 3.67409),
    (1.0, 0.05, 500, 8.48906),
    (0.8, 0.01, 5000, 7.70768),
    (25.0, 0.1, 1000, 0.51174),
    (4.0, 1.0, 1, 1.06070),
    (20.0, 1.0, 100, 2.25409),
    (0.3, 64 / 19612, 48_000, 321.129),
    (0.4, 64 / 19612, 48_000, 90.8974),
    (0.5, 64 / 19612, 48_000, 34.8469),
    (0.6, 64 / 19612, 48_000, 17.3053),
]


@pytest.mark.parametrize(("sigma", "rate", "steps", "epsilon"), PINNED)
def test_both_accountants_give_the_pinned_figures(
    sigma: float, rate: float, steps: int, epsilon: float
) -> None:
    spent = compose([use(sigma, rate, steps)], DELTA)
    assert spent.dp_accounting == pytest.approx(epsilon, rel=2e-3)
    assert spent.opacus == pytest.approx(epsilon, rel=1e-2)
    assert (spent.opacus_accountant, spent.dp_accounting_accountant) == ("prv", "pld")
    assert spent.epsilon == max(spent.opacus, spent.dp_accounting)
    assert not spent.disagrees


@pytest.mark.parametrize(
    ("sigma", "epsilon"), [(0.3, 350.94), (0.4, 98.09), (0.5, 37.67), (0.6, 18.71)]
)
def test_renyi_accounting_of_the_papers_settings(sigma: float, epsilon: float) -> None:
    uses = accounting.uses_of([use(sigma, 64 / 19612, 48_000)])
    with accounting._quiet():
        opacus = accounting._opacus_rdp_epsilon(uses, DELTA)
        google = accounting._google_rdp_epsilon(uses, DELTA)
    assert opacus == pytest.approx(epsilon, rel=1e-3)
    # dp-accounting tries other Renyi orders, and each order gives an upper bound
    assert 0.99 * epsilon <= google <= 1.1 * epsilon


@pytest.mark.parametrize("sigma", [0.5, 2.0, 10.0, 60.0])
def test_a_single_gaussian_agrees_with_its_exact_curve(sigma: float) -> None:
    spent = compose([use(sigma)], DELTA)
    assert gaussian_delta(spent.dp_accounting, sigma) == pytest.approx(DELTA, rel=0.05)
    assert gaussian_delta(spent.opacus, sigma) <= DELTA


def test_gaussians_of_different_noise_compose_like_one() -> None:
    together = compose([use(4.0), use(8.0, count=2)], DELTA)
    single = compose([use((1 / 16 + 2 / 64) ** -0.5)], DELTA)
    assert together.epsilon == pytest.approx(single.epsilon, rel=5e-3)


def test_releases_and_steps_compose_whatever_their_order() -> None:
    parts = [use(4.0), use(5.0, 0.05, 600), use(8.0, count=2), use(5.0, 0.05, 400)]
    spent = compose(parts, DELTA)
    assert spent.epsilon == pytest.approx(1.9809, rel=1e-2)  # PLD at 1e-4, as above
    assert compose(parts[::-1], DELTA) == spent


def test_a_few_large_losses_do_not_coarsen_the_mesh_of_many_small_ones() -> None:
    spent = compose([use(0.2), use(20.0, 0.01, 100_000)], DELTA)
    assert spent.disagreement < 0.02


def test_nothing_spends_nothing_and_no_noise_spends_everything() -> None:
    assert compose([], DELTA).epsilon == 0
    spent = compose([use(3.0), use(0.0)], DELTA)
    assert spent.epsilon == math.inf
    assert not spent.disagrees
    assert accounting.Spent.model_validate_json(spent.model_dump_json()) == spent


def test_where_prv_overflows_renyi_takes_over_and_is_named() -> None:
    spent = compose([use(0.15, 64 / 19612, 48_000)], DELTA)
    assert spent.opacus_accountant == "rdp"
    assert spent.epsilon == spent.opacus > spent.dp_accounting
    assert spent.disagrees


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0, 10.0])
@pytest.mark.parametrize(
    ("rate", "steps"), [(1.0, 1), (1.0, 20), (1024 / 19612, 200), (1024 / 19612, 2000)]
)
def test_calibration_is_tight_and_never_above(epsilon: float, rate: float, steps: int) -> None:
    sigma = noise_multiplier_for(epsilon, DELTA, rate, steps)
    spent = compose([use(sigma, rate, steps)], DELTA)
    assert 0.98 * epsilon <= spent.epsilon <= epsilon
    assert not spent.disagrees


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 3.0, 10.0])
def test_calibration_accounts_for_what_was_spent_before(epsilon: float) -> None:
    first = noise_multiplier_for(0.4 * epsilon, DELTA)
    already = [use(first)]
    sigma = noise_multiplier_for(epsilon, DELTA, 0.05, 300, already)
    spent = compose([*already, use(sigma, 0.05, 300)], DELTA)
    assert 0.98 * epsilon <= spent.epsilon <= epsilon
    assert sigma > noise_multiplier_for(epsilon, DELTA, 0.05, 300)


def test_calibration_of_the_papers_schedule() -> None:
    sigma = noise_multiplier_for(10, DELTA, 64 / 19612, 48_000)
    assert sigma == pytest.approx(0.7138, rel=5e-3)


def test_a_spent_budget_says_so() -> None:
    with pytest.raises(BudgetExhausted, match="smaller share"):
        noise_multiplier_for(1.0, DELTA, already=[use(noise_multiplier_for(1.0, DELTA))])


def test_an_infinite_budget_needs_no_noise() -> None:
    assert noise_multiplier_for(math.inf, DELTA, 0.1, 100) == 0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.nan])
def test_a_budget_must_be_positive(epsilon: float) -> None:
    with pytest.raises(DpbenchError, match="positive"):
        noise_multiplier_for(epsilon, DELTA)

import math

import numpy as np
import pytest

from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import compose, noise_multiplier_for
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.selection import (
    composed_epsilon,
    expected_tries,
    selection_cost,
    tuning_epsilon,
)

DELTA = 1e-6


def trial(epsilon: float, rate: float = 0.05, steps: int = 300) -> list[Mechanism]:
    sigma = noise_multiplier_for(epsilon, DELTA, rate, steps)
    return [Mechanism(name="step", noise_multiplier=sigma, sampling_rate=rate, count=steps)]


def test_composition_bounds_what_the_tight_accountants_say() -> None:
    ledgers = [trial(1.0)] * 3
    tight = compose([m for ledger in ledgers for m in ledger], DELTA).epsilon
    assert tight <= composed_epsilon(ledgers, DELTA) <= 1.1 * tight


def test_one_candidate_costs_itself() -> None:
    cost = selection_cost([trial(1.0)], DELTA)
    assert cost.single == pytest.approx(0.9975, rel=5e-3)
    assert cost.composed == pytest.approx(cost.single, rel=0.1)


def test_many_candidates_are_cheaper_by_random_search() -> None:
    cost = selection_cost([trial(1.0)] * 20, DELTA)
    assert cost.single < cost.randomised < cost.composed
    assert cost.randomised < 4 * cost.single
    assert cost.composed > 4 * cost.single


def test_the_costliest_candidate_counts() -> None:
    assert tuning_epsilon([trial(0.5), trial(3.0)], DELTA, 2) == pytest.approx(
        tuning_epsilon([trial(3.0)], DELTA, 2)
    )


def test_a_candidate_without_noise_costs_everything() -> None:
    cost = selection_cost([trial(1.0), [Mechanism(name="m", noise_multiplier=0)]], DELTA)
    assert cost.single == cost.composed == cost.randomised == math.inf


def test_nothing_to_select_from() -> None:
    with pytest.raises(DpbenchError, match="nothing"):
        selection_cost([], DELTA)


@pytest.mark.parametrize("eta", [-0.5, 0.0, 1.0, 2.0])
def test_expected_tries_are_those_of_the_distribution(eta: float) -> None:
    gamma = 0.2
    k = np.arange(1, 2000)
    if eta == 0:  # logarithmic distribution
        weights = (1 - gamma) ** k / k
    else:
        growth = np.log1p((eta - 1) / k[1:] if eta != 1 else np.zeros(len(k) - 1))
        log_weights = k * math.log(1 - gamma) + np.concatenate([[0.0], np.cumsum(growth)])
        weights = np.exp(log_weights)
    assert expected_tries(gamma, eta) == pytest.approx(float((k * weights).sum() / weights.sum()))


def test_a_pure_mechanism_tuned_at_random_costs_about_three_times_its_epsilon() -> None:
    """Gaussian of small epsilon, geometric K: the paper's factor of 2 + eta at most."""
    base = [trial(0.5, 1.0, 1)]
    single = compose(base[0], DELTA).epsilon
    assert tuning_epsilon(base, DELTA, 10, eta=1.0) < 4 * single

import math

import pytest
import torch

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import compose, noise_multiplier_for
from dpbench.privacy.handle import Budget
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.selection import choose_noisily, noise_of_choice, selection_epsilon
from dpbench.privacy.session import PrivateSession

DELTA = 1e-6
NEAR = torch.zeros(50, 2)
Z = 0.1 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0))


class Listener:
    """Keeps the sum of every release before its noise."""

    def __init__(self) -> None:
        self.totals: list[torch.Tensor] = []

    def release(self, mechanism, total, noisy):
        self.totals.append(total.flatten())
        return noisy()

    def part(self, division, number):
        return self


def session(latents: torch.Tensor, tape: Listener | None = None) -> PrivateSession:
    budget = Budget(1.0, DELTA)
    return PrivateSession(latents, budget, 1.0, Context(0), noise_seed=1, tape=tape)


@pytest.mark.parametrize("place", [0, 1])
def test_the_candidate_that_private_latents_are_nearest_to_is_chosen(place: int) -> None:
    samples = [NEAR + 5, NEAR + 5]
    samples[place] = NEAR
    made = session(Z)
    assert choose_noisily(made.handle, samples, noise_multiplier=4.0) == place
    (entry,) = made.ledger.mechanisms
    assert (entry.noise_multiplier, entry.sensitivity, entry.sampling_rate) == (4.0, 1.0, 1.0)


@pytest.mark.parametrize("record", range(0, 200, 40))
def test_a_null_record_moves_one_count_by_one(record: int) -> None:
    """The sensitivity of the choice under zero-out, counted."""
    samples = [Z[:20] + 0.01, Z[20:40], Z[40:60]]
    nulled = Z.clone()
    nulled[record] = torch.nan
    heard = [Listener(), Listener()]
    for latents, tape in zip((Z, nulled), heard, strict=True):
        choose_noisily(session(latents, tape).handle, samples, noise_multiplier=4.0)
    difference = heard[0].totals[0] - heard[1].totals[0]
    assert sorted(difference.tolist()) == [0, 0, 1]


def test_all_candidates_and_the_choice_are_charged() -> None:
    sigma = noise_multiplier_for(1.0, DELTA)
    ledger = [Mechanism(name="m", noise_multiplier=sigma)]
    noise = noise_of_choice(1.0, DELTA)
    together = [*ledger * 3, Mechanism(name="choice", noise_multiplier=noise)]
    paid = selection_epsilon([ledger] * 3, [noise], DELTA)
    assert paid == compose(together, DELTA).epsilon
    assert compose(ledger * 3, DELTA).epsilon < paid < 3.1
    assert compose(together[-1:], DELTA).epsilon == pytest.approx(0.1, rel=0.02)


def test_a_candidate_without_noise_costs_everything() -> None:
    assert selection_epsilon([[Mechanism(name="m", noise_multiplier=0)]], [4.0], DELTA) == math.inf


def test_unequal_samples_would_favour_one() -> None:
    with pytest.raises(DpbenchError, match="equally many"):
        choose_noisily(session(Z).handle, [NEAR, NEAR[:10]], noise_multiplier=4.0)

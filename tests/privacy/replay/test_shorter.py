"""Replayed fits are short, whatever their hyperparameters are called."""

from __future__ import annotations

from pydantic import Field

from dpbench.api import Params
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay import MOST_STEPS, ReplayLane, replay
from dpbench.privacy.replay.shorter import shorter

from .small import PRIVATE, PUBLIC, Animal, noisy_mean


class Long(Params):
    steps: int | None = None
    warm_steps: int | None = None
    outer_steps: int = 10_000
    few_steps: int = 3
    rounds: int = 10_000
    fast_steps: bool = True


class Refusing(Params):
    steps: int = Field(10_000, ge=5_000)


def params_of(params: Params) -> Params:
    found = shorter(ReplayLane(params, Budget(1.0, 1e-5), 1.0, 3)).params
    assert isinstance(found, Params)
    return found


def test_numbers_of_steps_are_lowered_and_nothing_else() -> None:
    assert params_of(Long()) == Long(steps=MOST_STEPS, outer_steps=MOST_STEPS)
    assert params_of(Long(steps=3)) == Long(steps=3, outer_steps=MOST_STEPS)


def test_hyperparameters_that_refuse_few_steps_stay_as_they_are() -> None:
    assert params_of(Refusing()) == Refusing()


class LeaksWhenLong(Animal):
    """Reads the mean after as many steps as no replay takes."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        if self.params.steps > MOST_STEPS:
            self.mean = private._session.latents.nanmean(0)


def test_what_a_fit_does_after_these_steps_is_not_seen() -> None:
    lane = ReplayLane(Long(steps=1000), Budget(1.0, 1e-5), 1.0, 3)
    assert replay(LeaksWhenLong, [lane], PUBLIC, PRIVATE).verdict == "passed"

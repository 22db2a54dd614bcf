"""Replayed fits are short, whatever their hyperparameters are called."""

from __future__ import annotations

from pydantic import Field

from dpbench.api import Params
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay import MOST_STEPS, ReplayLane
from dpbench.privacy.replay.shorter import shorter


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

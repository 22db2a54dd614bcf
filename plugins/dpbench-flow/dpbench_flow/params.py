"""Hyperparameters, and what they are when left to the budget."""

from __future__ import annotations

from pydantic import Field

from dpbench.api import Params
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lanes import LaneSchedule

__all__ = ["FlowParams", "StartedFlowParams", "learning_rate", "schedule_for"]


class FlowParams(Params):
    """Hyperparameters; the table ``[generators.flow]`` sets them, ``None`` is automatic."""

    hidden: tuple[int, ...] = Field((64, 64), min_length=1, description="widths of the network")
    draws: int = Field(4, ge=1, le=64, description="noise and time draws of a record in a step")
    batch: int | None = Field(None, ge=1, description="expected size of a Poisson batch")
    steps: int | None = Field(None, ge=1, description="private gradients")
    learning_rate: float | None = Field(None, gt=0, description="Adam's, falling to zero")
    average: bool = Field(True, description="publish an average over the last steps")
    sample_steps: int = Field(20, ge=1, description="steps of Heun's method when sampling")


class StartedFlowParams(FlowParams):
    """The same after a released mixture; ``[generators.flow-mixture]``."""

    learning_rate: float | None = Field(1e-3, gt=0, description="Adam's, falling to zero")
    share: float = Field(0.9, gt=0, lt=1, description="part of the budget that buys the start")
    components: int | None = Field(None, ge=1, description="Gaussians of the start")


def schedule_for(params: FlowParams, private: PrivateLatents) -> LaneSchedule:
    """Choose a lane's schedule; its noise uses up what the ledger has left."""
    batch, steps = _size(private.budget)
    rate = min(1.0, min(params.batch or batch, private.size) / private.size)
    steps = params.steps or steps
    return LaneSchedule(rate, steps, private.clip, private.noise_multiplier(rate, steps))


def _size(budget: Budget) -> tuple[int, int]:
    """Return records expected in a batch, and steps: the more noise, the larger and the fewer."""
    epsilon = budget.epsilon if budget.noise_multiplier is None else 10.0
    if epsilon < 3:
        return 2048, 100 if epsilon < 0.5 else 200
    return (1024, 600) if epsilon < 100 else (256, 3000)


def learning_rate(params: FlowParams, schedule: LaneSchedule, step: int) -> float:
    """Return the rate of ``step``, counted from 0: linear from the base rate to zero.

    Adam moves a parameter by at most rate times steps: few steps need a high rate.
    """
    base = params.learning_rate or min(0.02, max(0.015, 3 / schedule.steps))
    return base * (1 - step / schedule.steps)

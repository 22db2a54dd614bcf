"""Hyperparameters, and what they are when left to the budget."""

from __future__ import annotations

from pydantic import Field

from dpbench.api import Params
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lanes import LaneSchedule

__all__ = ["FlowParams", "StartedFlowParams", "learning_rate", "schedule_for"]


class FlowParams(Params):
    """Hyperparameters; the table ``[generators.flow]`` sets them, ``None`` is automatic."""

    hidden: tuple[int, ...] = Field((256, 256), min_length=1, description="widths of the network")
    draws: int = Field(4, ge=1, le=64, description="noise and time draws of a record in a step")
    batch: int | None = Field(None, ge=1, description="expected size of a Poisson batch")
    steps: int | None = Field(None, ge=1, description="private gradients")
    learning_rate: float | None = Field(None, gt=0, description="Adam's, falling to zero")
    average: bool = Field(True, description="publish an average over the last steps")
    sample_steps: int = Field(20, ge=1, description="steps of Heun's method when sampling")


class StartedFlowParams(FlowParams):
    """The same after a released mixture; ``[generators.flow-mixture]``."""

    share: float = Field(0.9, gt=0, lt=1, description="part of the budget that buys the start")
    components: int | None = Field(None, ge=1, description="Gaussians of the start")


def schedule_for(params: FlowParams, private: PrivateLatents) -> LaneSchedule:
    """Choose a lane's schedule; its noise uses up what the ledger has left."""
    epsilon = private.budget.epsilon
    heavy = private.budget.private and epsilon < 3
    quiet = not private.budget.private or epsilon >= 100
    batch = params.batch or min(512 if quiet else 4096 if heavy else 2048, private.size)
    steps = params.steps or (3000 if quiet else 200 if heavy else 600)
    rate = min(1.0, batch / private.size)
    return LaneSchedule(rate, steps, private.clip, private.noise_multiplier(rate, steps))


def learning_rate(params: FlowParams, schedule: LaneSchedule, step: int) -> float:
    """Return the rate of ``step``, counted from 0: linear from the base rate to zero."""
    base = params.learning_rate or 5e-3
    return base * (1 - step / schedule.steps)

"""Steps, batch sizes and learning rates as functions of the budget and the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from dpbench.api import Params
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_optim import OptimiserName
from dpbench.privacy.lanes import LaneSchedule

__all__ = ["StepParams", "automatic_rate", "gentle_rate", "lane_rates", "schedule_for"]


def _automatic(value: Any) -> Any:
    """TOML has no null: ``"auto"`` lets an axis name the automatic choice among others."""
    return None if value == "auto" else value


class StepParams(Params):
    """What governs a DP-SGD run; ``None`` (of ``steps``, ``"auto"`` too) stands for an automatic
    choice.

    Attributes:
        batch: expected size of a Poisson batch, so the sampling rate is ``batch / N``; not set:
            1,024, at most a quarter of N.
        steps: of DP-SGD; not set: 200 √ε, at least 100 and at most 1,500, which is also what
            is taken without noise. 0 with a released prior: that start alone.
        optimiser: what moves by the private gradient.
        learning_rate: not set: follows the steps, or the noise after a released prior.
        decay: lower the learning rate linearly to 0.
        average: publish an average over about the last eighth of the steps.
        weight_decay: times the parameters, a part of the gradient (of ``lamb``: of the direction).
        betas: decay of the averages of gradients and of their squares; the first is the
            momentum of ``sgd``.
        pretrain_steps: steps on public latents before the first private one.
        pretrain_rate: their learning rate, which falls linearly to 0.
    """

    batch: int | None = Field(None, ge=1)
    steps: Annotated[int | None, BeforeValidator(_automatic)] = Field(None, ge=0)
    optimiser: OptimiserName = "adam"
    learning_rate: float | None = Field(None, gt=0)
    decay: bool = True
    average: bool = True
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.5, 0.9)
    pretrain_steps: int = Field(0, ge=0)
    pretrain_rate: float = Field(2e-3, gt=0)


def schedule_for(
    params: StepParams, private: PrivateLatents, batch: int, least: int, most: int
) -> LaneSchedule:
    """Choose a lane's schedule; the noise uses up what the ledger has left.

    ``batch``, and ``least`` and ``most`` steps, are the generator's own: they bound what is
    automatic.
    """
    batch = params.batch or max(1, min(batch, private.size // 4))
    steps = automatic_steps(private, least, most) if params.steps is None else params.steps
    rate = min(1.0, batch / private.size)
    noise = private.noise_multiplier(rate, steps) if steps else 0.0
    return LaneSchedule(rate, steps, private.clip, noise)


def automatic_steps(private: PrivateLatents, least: int, most: int) -> int:
    """``most`` steps without noise, ``200 sqrt(epsilon)`` in between, never under ``least``."""
    if not private.budget.private or private.budget.epsilon >= 100:
        return most
    return int(min(most, max(least, 200 * private.budget.epsilon**0.5)))


def lane_rates(
    params: StepParams,
    schedules: Sequence[LaneSchedule],
    step: int,
    automatic: Callable[[LaneSchedule], float],
    own: float | None = None,
) -> list[float]:
    """Return each lane's learning rate at ``step``: ``own``, or what the parameters say."""
    rates = []
    for schedule in schedules:
        rate = own or params.learning_rate or automatic(schedule)
        rates.append(rate * (1 - step / schedule.steps) if params.decay else rate)
    return rates


def automatic_rate(schedule: LaneSchedule, least: float, most: float) -> float:
    """``4 / steps`` within bounds: few steps then reach as far as many.

    Adam moves every parameter by at most about its rate, so rate times steps
    bounds how far a network gets.
    """
    return min(most, max(least, 4 / schedule.steps))


def gentle_rate(schedule: LaneSchedule) -> float:
    """Tiny under noise, for networks that start at a released prior.

    However little of a noisy gradient is signal, Adam moves every parameter by about
    its rate: networks that start at a good place wander off.
    """
    return 2e-3 / (1 + 20 * schedule.noise_multiplier)

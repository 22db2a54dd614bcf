"""Steps, batch sizes and learning rates as functions of the budget and the data."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from dpbench.api import Params
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_optim import OptimiserName
from dpbench.privacy.lanes import LaneSchedule

__all__ = ["StepParams", "lane_rates", "schedule_for"]


class StepParams(Params):
    """What governs a DP-SGD run; ``None`` stands for an automatic choice.

    ``batch`` is the expected size of a Poisson batch, so the sampling rate is
    ``batch / N``. ``optimiser`` moves by the private gradient (the first of ``betas``
    is the momentum of ``"sgd"``); ``decay`` lowers the learning rate linearly to zero;
    ``average`` publishes an average over the last steps.
    """

    batch: int | None = Field(None, ge=1)
    steps: int | None = Field(None, ge=1)
    optimiser: OptimiserName = "adam"
    learning_rate: float | None = Field(None, gt=0)
    decay: bool = True
    average: bool = True
    weight_decay: float = Field(0.0, ge=0)
    betas: tuple[float, float] = (0.5, 0.9)
    pretrain_steps: int = Field(0, ge=0)
    pretrain_rate: float = Field(2e-3, gt=0)


def schedule_for(params: StepParams, private: PrivateLatents) -> LaneSchedule:
    """Choose a lane's schedule; the noise uses up what the ledger has left."""
    batch = params.batch or max(1, min(1024, private.size // 4))
    steps = params.steps or automatic_steps(private)
    rate = min(1.0, batch / private.size)
    return LaneSchedule(rate, steps, private.clip, private.noise_multiplier(rate, steps))


def automatic_steps(private: PrivateLatents) -> int:
    """1,000 steps without noise, falling with epsilon to 150."""
    if not private.budget.private or private.budget.epsilon >= 100:
        return 1000
    return int(min(1000, max(150, 200 * private.budget.epsilon**0.5)))


def lane_rates(
    params: StepParams,
    schedules: Sequence[LaneSchedule],
    step: int,
    base: float | None = None,
    gentle: bool = False,
) -> list[float]:
    """Return each lane's learning rate at ``step``; ``gentle`` as in :func:`automatic_rate`."""
    rates = []
    for schedule in schedules:
        rate = base or params.learning_rate or automatic_rate(schedule, gentle)
        rates.append(rate * (1 - step / schedule.steps) if params.decay else rate)
    return rates


def automatic_rate(schedule: LaneSchedule, gentle: bool = False) -> float:
    """Smaller under noise; much smaller for a network that starts at a released prior.

    Adam moves every parameter by about its rate, however little of a noisy
    gradient is signal: networks that start at a good place wander off.
    """
    return 2e-3 / (1 + (20 if gentle else 1) * schedule.noise_multiplier)

"""A trial on its way through training, and how trials are put together into runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.mixture import Mixture
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lanes import LaneSchedule

__all__ = ["Sampler", "TrainingLane", "batched_runs"]

_MOST_ON_CPU = 16
_SNAPSHOTS = 5
"""Pictures of a training, besides the one of its start."""


class Sampler(Protocol):
    """What both generators have: a prior, flat parameters ``[1, P]``, and samples of them."""

    mixture: Mixture
    flat: Tensor

    def sample(self, count: int, rng: torch.Generator) -> Tensor: ...


G = TypeVar("G", bound=Sampler)


@dataclass(frozen=True)
class TrainingLane(Generic[G]):
    """One trial: what is fitted, on what, from which prior, and for how long."""

    generator: G
    private: PrivateLatents
    context: Context
    prior: Mixture
    schedule: LaneSchedule

    def publish(self, parameters: Tensor) -> None:
        """Give the generator its prior and its ``parameters`` ``[1, P]``."""
        self.generator.mixture = self.prior.to("cpu")
        self.generator.flat = parameters.cpu().clone()

    def watch(self, step: int, parameters: Tensor) -> None:
        """Keep a few samples at evenly spaced steps, always from the same input noise."""
        steps = self.schedule.steps
        if step not in {round(part * steps / _SNAPSHOTS) for part in range(_SNAPSHOTS + 1)}:
            return
        self.publish(parameters)
        sample = self.generator.sample(10, self.context.generator("snapshots"))
        self.context.snapshot(step, sample)


def batched_runs(
    lanes: Iterable[TrainingLane[G]], together: bool = True
) -> Iterator[list[TrainingLane[G]]]:
    """Yield the lanes by falling number of steps, in runs to train one after the other.

    On a CPU a run holds few enough lanes for their parameters to stay in the
    cache; lanes do not depend on what runs beside them, so results are the same.
    """
    ordered = sorted(lanes, key=lambda lane: -lane.schedule.steps)
    most = len(ordered) if ordered[0].context.device.type != "cpu" else _MOST_ON_CPU
    size = most if together else 1
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]

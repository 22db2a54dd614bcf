"""A trial on its way through training, and how trials are put together into runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from dpbench.api import Context, PrivateGenerator
from dpbench.generators.mixture import Mixture
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lanes import LaneSchedule

__all__ = ["TrainingLane", "batched_runs"]

_MOST_ON_CPU = 16

G = TypeVar("G", bound=PrivateGenerator)


@dataclass(frozen=True)
class TrainingLane(Generic[G]):
    """One trial: what is fitted, on what, from which prior, and for how long."""

    generator: G
    private: PrivateLatents
    context: Context
    prior: Mixture
    schedule: LaneSchedule


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

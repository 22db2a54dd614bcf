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
    """Yield the lanes by falling number of steps, as one run or each alone."""
    ordered = sorted(lanes, key=lambda lane: -lane.schedule.steps)
    if together:
        yield ordered
    else:
        for lane in ordered:
            yield [lane]

"""The training loop that both generators share: steps, pictures, averaging, publishing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from dpbench.generators.schedule import StepParams
from dpbench.generators.training_lane import LaneGenerator, TrainingLane
from dpbench.privacy.by_class import balanced_labels
from dpbench.privacy.capture import Replay, StepNumbers
from dpbench.privacy.contributions import membership
from dpbench.privacy.lane_nets import LaneBuffer
from dpbench.privacy.lane_optim import LaneAverage
from dpbench.privacy.lanes import DPSGDLanes
from dpbench.privacy.reference import ReferenceLane

__all__ = ["Training"]

G = TypeVar("G", bound=LaneGenerator)


class Training(ABC, Generic[G]):
    """One run of lanes that are ordered by falling steps.

    A subclass sets what is below before :meth:`run`, and says what a step is.

    Attributes:
        weights: what is averaged and published.
        engine: hands out the private gradients, and counts the steps.
        replay: carries out :meth:`step`.
        numbers: what differs from step to step.
    """

    weights: LaneBuffer
    engine: DPSGDLanes | ReferenceLane
    replay: Replay
    numbers: StepNumbers

    def __init__(self, lanes: list[TrainingLane[G]], public: Tensor) -> None:
        self.lanes, self.public = lanes, public
        self.params: Any = lanes[0].generator.params
        self.schedules = [lane.schedule for lane in lanes]
        self.contexts = [lane.context for lane in lanes]
        self.privates = [lane.private for lane in lanes]
        self.device = self.contexts[0].device
        self.weights = lanes[0].generator.initial(self.contexts)
        self._average = LaneAverage(self.weights.flat)
        self._marks: dict[int, Tensor] = {}

    def run(self) -> None:
        """Take every lane's steps, then publish each."""
        while (active := self.engine.active) > 0:
            step = self.engine.step
            self._watch(active, step)
            self.before(active, step)
            self.engine.begin()
            self.replay.run(self.engine.key, partial(self.step, active))
            self.engine.end()
            self.after(active, step)
            if step % 50 == 0:
                self.contexts[0].progress(step, self.schedules[0].steps)
        self._publish()

    @abstractmethod
    def before(self, active: int, step: int) -> None:
        """Set the numbers of a step of the leading ``active`` lanes."""

    @abstractmethod
    def step(self, active: int) -> None:
        """Move by one private gradient."""

    def after(self, active: int, step: int) -> None:
        """Do what needs no private gradient."""

    def count_average(self) -> None:
        """Say that ``weights`` are about to move."""
        self.numbers.set("average", [self._average.weight()])

    def average(self, active: int) -> None:
        """Take the moved weights into the average."""
        steps: StepParams = self.params
        if steps.average:
            self._average.blend(self.weights.head(active).flat, self.numbers.one("average"))

    def marked(self, x: Tensor) -> Tensor:
        """Put classes, as many of each, beside free draws ``[A, n, k]``; without labels none."""
        classes, count = self.privates[0].classes, x.shape[1]
        if classes == 1:
            return x
        if count not in self._marks:  # a captured step finds them
            self._marks[count] = membership(balanced_labels(count, classes), classes, x)
        return torch.cat([x, self._marks[count].expand(len(x), -1, -1)], -1)

    def _watch(self, active: int, step: int) -> None:
        for i, lane in enumerate(self.lanes[:active]):
            lane.watch(step, self.weights.flat[i : i + 1])

    def _publish(self) -> None:
        final = self._average.flat if self.params.average else self.weights.flat
        for i, lane in enumerate(self.lanes):
            lane.watch(lane.schedule.steps, final[i : i + 1])
            lane.publish(final[i : i + 1])

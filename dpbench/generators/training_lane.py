"""What both generators share: trials on their way through training, put together into runs."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from pydantic import model_validator
from torch import Tensor

from dpbench.api import Context, PrivateGenerator
from dpbench.generators.lane_prior import PriorParams
from dpbench.generators.mixture import Mixture
from dpbench.generators.schedule import StepParams
from dpbench.privacy.by_class import draw
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer
from dpbench.privacy.lanes import LaneSchedule

__all__ = ["MOST_ON_CPU", "LaneGenerator", "TrainingLane", "TrainingParams", "batched_runs"]

MOST_ON_CPU = 16
_TABLE_BYTES = {"cpu": 2**30, "cuda": 2**33}
"""What the records of a run may take: each lane sees them in its own components' units."""
_SNAPSHOTS = 5
"""Pictures of a training, besides the one of its start."""


class TrainingParams(PriorParams, StepParams):
    """What a generator starts from, and how it is trained.

    ``steps = 0`` with a released prior is the start alone: the control of what DP-SGD adds.
    """

    @model_validator(mode="after")
    def _no_steps_need_a_start(self) -> TrainingParams:
        if self.steps == 0 and not self.released:
            raise ValueError("steps = 0 needs a released prior")
        return self


class LaneGenerator(PrivateGenerator):
    """A prior and one lane's flat parameters ``[1, P]``, trained beside other lanes."""

    conditional = True
    mixture: Mixture
    flat: Tensor

    @property
    def marks(self) -> int:
        """Columns that tell a network which class a row is of; none without labels."""
        return self.classes if self.classes > 1 else 0

    @classmethod
    def label_of(cls, params: Any) -> str:
        """Name a released start, and say where nothing follows it: ``GAN+mixture (start)``."""
        start = f"+{params.prior}" if params.released else ""
        return f"{cls.label}{start}" + (" (start)" if params.steps == 0 else "")

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Train one lane."""
        self.fit_lanes([self], [private], public, [context])

    @classmethod
    def fit_lanes(
        cls,
        generators: Sequence[PrivateGenerator],
        privates: Sequence[PrivateLatents],
        public: Tensor,
        contexts: Sequence[Context],
    ) -> None:
        """Train all lanes as one batched program; diverged lanes keep their NaNs."""
        public = public.to(contexts[0].device)
        lanes = [
            generator.make_lane(private, public, context)
            for generator, private, context in zip(generators, privates, contexts, strict=True)
            if isinstance(generator, cls)
        ]
        together = lanes[0].generator.params.engine == "lanes"
        for lane in lanes:
            if lane.schedule.steps == 0:  # the start alone
                lane.publish(lane.generator.initial([lane.context]).flat)
        trained = [lane for lane in lanes if lane.schedule.steps]
        for run in batched_runs(trained, together):
            cls.train(run, public)

    @abstractmethod
    def make_lane(
        self, private: PrivateLatents, public: Tensor, context: Context
    ) -> TrainingLane[Self]:
        """Release the prior first, so that the steps use up exactly what it leaves."""

    @abstractmethod
    def initial(self, contexts: Sequence[Context]) -> LaneBuffer:
        """Draw the parameters with which many lanes start, one by one from their contexts."""

    @classmethod
    @abstractmethod
    def train(cls, lanes: list[TrainingLane[Any]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""

    def state(self) -> dict[str, Tensor]:
        """Return the prior and the parameters."""
        return {
            "weights": self.mixture.weights,
            "means": self.mixture.means,
            "factors": self.mixture.factors,
            "parameters": self.flat,
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        classes = self.classes if self.params.released else 1
        self.mixture = Mixture(state["weights"], state["means"], state["factors"], classes)
        self.flat = state["parameters"]


G = TypeVar("G", bound=LaneGenerator)


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
        stream = self.context.generator("snapshots")
        self.context.snapshot(step, draw(self.generator, 10, stream, self.private.classes)[0])


def batched_runs(
    lanes: Iterable[TrainingLane[G]], together: bool = True
) -> Iterator[list[TrainingLane[G]]]:
    """Yield the lanes by falling number of steps, in runs to train one after the other.

    On a CPU a run holds few enough lanes for their parameters to stay in the
    cache, and nowhere more than fit in memory; lanes do not depend on what runs
    beside them, so results are the same.
    """
    lanes = list(lanes)
    if not lanes:
        return
    ordered = sorted(lanes, key=lambda lane: -lane.schedule.steps)
    device, private = ordered[0].context.device.type, ordered[0].private
    fit = _TABLE_BYTES.get(device, 2**30) // (8 * private.dim * private.size)
    most = min(MOST_ON_CPU, fit) if device == "cpu" else fit
    size = max(1, most) if together else 1
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]

"""Replays of private generators: whether anything but their recorded releases leaves a fit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dpbench import plugins
from dpbench.api import Context
from dpbench.component import Component
from dpbench.privacy.by_class import class_indices
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay import ReplayLane, replay
from dpbench.stages.generator import Lane
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["ReplayTask"]


@dataclass(frozen=True)
class ReplayTask(Task):
    """Replay two trials of a company of lanes, or the one that there is.

    ``trained`` names generators that must be there first: what cannot be trained is
    not replayed either. ``classes`` are the private ones where records have labels. The
    artifact holds a :class:`~dpbench.privacy.replay.ReplayVerdict`.
    """

    key: str
    latents: str
    generator: Component
    lanes: tuple[Lane, ...]
    seed: int
    trained: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    stage: ClassVar[str] = "replay"
    plural: ClassVar[str] = "replays"

    def reads(self) -> Sequence[ArtifactId]:
        trained = (ArtifactId("generator", key) for key in self.trained)
        return [ArtifactId("latents", self.latents), *trained]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        latents = store.load("latents", self.latents).tensors
        cls = plugins.registry().get("generator", self.generator.plugin).cls
        lanes = [
            ReplayLane(
                cls.Params.model_validate(lane.params),
                Budget(lane.epsilon, lane.delta, lane.noise_multiplier),
                lane.clip,
                lane.seed,
            )
            for lane in self.lanes
        ]
        started = time.perf_counter()
        verdict = replay(
            cls,
            lanes,
            latents["public"],
            latents["private"],
            labels=class_indices(latents["labels"], self.classes) if self.classes else None,
            classes=max(1, len(self.classes)),
            seed=self.seed,
            device=context.device,
            store=store.root,
        )
        meta = {
            "verdict": verdict.model_dump(mode="json"),
            "seconds": time.perf_counter() - started,
        }
        store.save(self.stage, self.key, Artifact(meta))
        return {}

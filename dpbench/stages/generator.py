"""Private generators: trained together, checked and kept one by one."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dpbench import plugins
from dpbench.api import Context, PrivateGenerator
from dpbench.component import Component
from dpbench.errors import DpbenchError, told
from dpbench.privacy.by_class import class_indices, draw, make_generator, trained_as
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay.remembered import remembered
from dpbench.privacy.session import PrivateSession
from dpbench.stages.task import Task
from dpbench.stages.trained import SNAPSHOTS
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["GeneratorTask", "Lane"]


@dataclass(frozen=True)
class Lane:
    """One trial within a generator task; ``key`` names its artifact.

    ``noise_seed`` is the root of all noise, and not to be had from ``seed``, which a
    generator sees: with it the noise could be drawn again and subtracted.
    """

    key: str
    params: dict[str, Any]
    epsilon: float
    noise_multiplier: float | None
    delta: float
    clip: float
    seed: int
    noise_seed: int = field(repr=False)

    @property
    def private(self) -> bool:
        """False for the non-private row (epsilon = infinity)."""
        return math.isfinite(self.epsilon) or self.noise_multiplier is not None


@dataclass(frozen=True)
class GeneratorTask(Task):
    """Train private generators of one architecture on one set of latents, together.

    ``classes`` are the private classes where records have labels, and none where not.
    """

    latents: str
    generator: Component
    lanes: tuple[Lane, ...]
    secure_rng: bool = False
    classes: tuple[int, ...] = ()
    stage: ClassVar[str] = "generator"
    plural: ClassVar[str] = "private generators"

    @property
    def seed(self) -> int:  # type: ignore[override]  # each lane gets its own
        return self.lanes[0].seed

    def reads(self) -> Sequence[ArtifactId]:
        return [ArtifactId("latents", self.latents)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, lane.key) for lane in self.lanes]

    def split(self) -> Sequence[Task]:
        """Return one task for each lane, so that one bad trial cannot take the others along."""
        if len(self.lanes) == 1:
            return ()
        return [replace(self, lanes=(lane,)) for lane in self.lanes]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        if len({lane.private for lane in self.lanes}) > 1:
            raise DpbenchError(
                "private and non-private trials in one task: what one computes without noise "
                "could reach the others; train them apart"
            )
        latents = store.load("latents", self.latents).tensors
        private, public = latents["private"], latents["public"]
        labels = class_indices(latents["labels"], self.classes) if self.classes else None
        count = max(1, len(self.classes))
        cls = plugins.registry().get("generator", self.generator.plugin).cls
        generators: list[PrivateGenerator] = []
        sessions: list[PrivateSession] = []
        contexts: list[Context] = []
        snapshots: dict[str, list[tuple[int, Tensor]]] = {lane.key: [] for lane in self.lanes}
        for lane in self.lanes:
            taken = functools.partial(_take, snapshots[lane.key])
            lane_context = replace(context, seed=lane.seed, on_snapshot=taken)
            params = cls.Params.model_validate(lane.params)
            generators.append(make_generator(cls, params, private.shape[1], count))
            sessions.append(self._session(lane, private, labels, lane_context))
            contexts.append(lane_context)
        remembered(cls).restore()
        started = time.perf_counter()
        handles = [session.handle for session in sessions]
        trained_as(cls, count).fit_lanes(generators, handles, public, contexts)
        seconds = (time.perf_counter() - started) / len(self.lanes)
        failures: dict[str, str] = {}
        for lane, generator, session in zip(self.lanes, generators, sessions, strict=True):
            try:
                artifact = _trained(self.generator, generator, session, seconds)
                _add_snapshots(artifact, snapshots[lane.key])
            except DpbenchError as error:
                failures[lane.key] = told(error)
            else:
                store.save(self.stage, lane.key, artifact)
        return failures

    def _session(
        self, lane: Lane, private: Tensor, labels: Tensor | None, context: Context
    ) -> PrivateSession:
        return PrivateSession(
            private,
            Budget(lane.epsilon, lane.delta, lane.noise_multiplier),
            lane.clip,
            context,
            noise_seed=lane.noise_seed,
            secure_rng=self.secure_rng,
            labels=labels,
            classes=max(1, len(self.classes)),
        )


def _trained(
    component: Component, generator: PrivateGenerator, session: PrivateSession, seconds: float
) -> Artifact:
    """Check that a fitted generator can sample; gather its state and its ledger."""
    ledger = session.ledger
    if not ledger.mechanisms:
        raise DpbenchError(
            f"generator {component.name!r} used no private data: learn through the handle's "
            "mechanisms, or declare yours with raw()"
        )
    state = generator.state()
    sample, _ = draw(generator, 64, torch.Generator().manual_seed(0), generator.classes)
    if sample.shape != (64, generator.latent_dim):
        raise DpbenchError(
            f"generator {component.name!r} sampled shape {tuple(sample.shape)} instead of "
            f"{(64, generator.latent_dim)}: return [count, d]"
        )
    finite = all(bool(torch.isfinite(t).all()) for t in (sample, *state.values()))
    meta = {
        "diverged": not finite,
        "spent": session.spent.model_dump(mode="json"),
        "ledger": ledger.model_dump(mode="json"),
        "rng": ledger.rng,
        "seconds": seconds,
    }
    return Artifact(meta, state if finite else {})


def _take(snapshots: list[tuple[int, Tensor]], step: int, latents: Tensor) -> None:
    snapshots.append((step, latents[:10]))


def _add_snapshots(artifact: Artifact, taken: list[tuple[int, Tensor]]) -> None:
    if taken and not artifact.meta["diverged"]:
        artifact.tensors[SNAPSHOTS] = torch.stack([latents for _, latents in taken])
        artifact.meta["snapshot_steps"] = [step for step, _ in taken]

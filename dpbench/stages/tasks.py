"""What each stage is told: frozen values that hold the keys of what they read and write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dpbench.metrics.protocol import Protocol
from dpbench.planning.config import Component

__all__ = [
    "EvaluatorTask",
    "GeneratorTask",
    "Lane",
    "LatentsTask",
    "PublicTask",
    "ScoreTask",
    "Source",
    "Task",
    "outputs",
]


@dataclass(frozen=True)
class EvaluatorTask:
    """Train (or load) an evaluator and pass the reference images through it."""

    key: str
    data: str
    evaluator: str
    seed: int
    weights: str | None = None
    cache: str | None = None
    stage: str = "evaluator"


@dataclass(frozen=True)
class PublicTask:
    """Learn a public model from public images."""

    key: str
    data: str
    model: Component
    seed: int
    stage: str = "public"


@dataclass(frozen=True)
class LatentsTask:
    """Extract private and public latents and standardise both by the public ones."""

    key: str
    data: str
    public: str
    model: Component
    extractor: Component
    latents: dict[str, Any]
    seed: int
    stage: str = "latents"


@dataclass(frozen=True)
class Lane:
    """One trial within a generator task; ``key`` names its artifact."""

    key: str
    params: dict[str, Any]
    epsilon: float
    noise_multiplier: float | None
    delta: float
    clip: float
    seed: int


@dataclass(frozen=True)
class GeneratorTask:
    """Train private generators of one architecture on one set of latents, together."""

    latents: str
    generator: Component
    lanes: tuple[Lane, ...]
    secure_rng: bool = False
    stage: str = "generator"


Source = Literal["trial", "real", "public-images", "reconstruction", "public-prior"]


@dataclass(frozen=True)
class ScoreTask:
    """Score one source of images under one protocol; one artifact per metric.

    ``metrics`` pairs each metric still to be computed with its artifact's key.
    ``samples`` is the key under which the source's features are kept.
    """

    source: Source
    samples: str
    data: str
    evaluator: str
    labeller: str
    protocol: Protocol
    metrics: tuple[tuple[Component, str], ...]
    seed: int
    model: Component | None = None
    public: str | None = None
    latents: str | None = None
    generator: Component | None = None
    trained: str | None = None
    stage: str = "score"


Task = EvaluatorTask | PublicTask | LatentsTask | GeneratorTask | ScoreTask


def outputs(task: Task) -> Sequence[tuple[str, str]]:
    """Return the artifacts, as (stage, key), that a task leaves when it succeeds."""
    if isinstance(task, GeneratorTask):
        return [("generator", lane.key) for lane in task.lanes]
    if isinstance(task, ScoreTask):
        return [("score", key) for _, key in task.metrics]
    return [(task.stage, task.key)]

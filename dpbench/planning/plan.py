"""From trials to tasks: content keys, what is shared, what is already there."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dpbench.api import Partition, derive_seed
from dpbench.metrics.protocol import Protocol
from dpbench.planning.code_version import code_version
from dpbench.planning.config import Component, Config
from dpbench.planning.trials import Trial
from dpbench.stages import (
    EvaluatorTask,
    GeneratorTask,
    Lane,
    LatentsTask,
    PublicTask,
    ScoreTask,
    Source,
    Task,
)
from dpbench.store import ArtifactId, Store, content_key

__all__ = ["Cell", "Job", "Options", "Plan", "fingerprint", "make_plan"]

T = TypeVar("T")
#: Raise when a stage's own code changes what it computes.
STAGE_VERSION = 1
#: The same for evaluators alone, on which features and scores depend.
EVALUATOR_VERSION = 2
#: Lanes of one task; more only lengthens what a crash can cost.
MAX_LANES = 64


@dataclass(frozen=True)
class Options:
    """What a run may vary without being another benchmark."""

    inception_weights: str | None = None
    inception_sha256: str | None = None
    cache: str | None = None
    controls: bool = True
    fresh: bool = False


@dataclass(frozen=True)
class Job:
    """A task with a name for readers and a guess at its cost in seconds."""

    id: str
    title: str
    task: Task
    cost: float

    def parts(self) -> list[Job]:
        """Return the jobs to try after this one failed as a whole; none if it has no parts."""
        tasks = self.task.split()
        return [
            Job(
                f"{self.id}/{number}",
                f"{self.title} ({number} of {len(tasks)}, alone)",
                task,
                self.cost / len(tasks),
            )
            for number, task in enumerate(tasks, 1)
        ]


@dataclass(frozen=True)
class Cell:
    """One row of results to come: a trial or a control, under one protocol."""

    protocol: Protocol
    dataset: str
    settings: str
    scores: dict[str, str]
    trial: Trial | None = None
    control: Source | None = None
    public: str | None = None
    extractor: str | None = None
    trained: str | None = None
    artifacts: dict[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> list[ArtifactId]:
        """The artifacts whose content the row shows: the trained generator and the scores."""
        trained = [ArtifactId("generator", self.trained)] if self.trained else []
        return [*trained, *(ArtifactId("score", key) for key in self.scores.values())]


@dataclass
class Plan:
    """Jobs still to be done, by id, and all cells.

    Attributes:
        cached: number of finished artifacts by stage.
        corrupt: artifacts that were damaged, and are removed.
        stale: artifacts to be removed before the jobs run, since all is to be fresh.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    cached: dict[str, int] = field(default_factory=dict)
    corrupt: list[str] = field(default_factory=list)
    stale: list[ArtifactId] = field(default_factory=list)

    def count(self, stage: str) -> tuple[int, int]:
        """Return (to do, cached) for a stage, in artifacts."""
        todo = sum(a.stage == stage for a in self.writers())
        return todo, self.cached.get(stage, 0)

    def writers(self) -> dict[ArtifactId, Job]:
        """Return by which job each artifact still to be computed is written."""
        return {artifact: job for job in self.jobs.values() for artifact in job.task.writes()}

    def towards(self, wanted: Iterable[ArtifactId]) -> dict[str, Job]:
        """Return the jobs, by id, without which the artifacts ``wanted`` would not come."""
        writers, found = self.writers(), dict[str, Job]()
        queue = list(wanted)
        while queue:
            job = writers.get(queue.pop())
            if job is not None and job.id not in found:
                found[job.id] = job
                queue += job.task.reads()
        return {job_id: job for job_id, job in self.jobs.items() if job_id in found}


def fingerprint(partition: Partition) -> str:
    """Hash the bytes of all images and labels and the choice of private classes."""
    digest = hashlib.sha256(repr(partition.private_classes).encode())
    for part in (partition.labelling, partition.public, partition.private, partition.test):
        digest.update(repr(tuple(part.images.shape)).encode())
        digest.update(part.images.contiguous().numpy().data)
        digest.update(part.labels.contiguous().numpy().data)
    return digest.hexdigest()[:32]


def make_plan(
    config: Config, trials: Iterable[Trial], data: dict[str, str], store: Store, options: Options
) -> Plan:
    """Work out every task that ``trials`` need and that the store does not have.

    ``data`` gives the fingerprint of each data set by its configured name.
    """
    return _Planner(config, data, store, options).plan(list(trials))


class _Planner:
    """Builds a plan; remembers every key it has worked out."""

    def __init__(
        self, config: Config, data: dict[str, str], store: Store, options: Options
    ) -> None:
        self.config, self.data, self.store, self.options = config, data, store, options
        self.result = Plan()
        self.known: dict[ArtifactId, bool] = {}
        self.groups: dict[str, tuple[GeneratorTask, float, str]] = {}
        self.sample_seeds: dict[str, int] = {}
        self.remembered: dict[str, Any] = {}

    def plan(self, trials: list[Trial]) -> Plan:
        rows = [(trial, self.train(trial)) for trial in trials]
        self.flush_groups()
        for trial, trained in rows:
            for name in trial.protocols:
                self.score_trial(trial, trained, self.config.settings.protocols[name])
        if self.options.controls:
            for trial in trials:
                for name in trial.protocols:
                    self.controls(trial, self.config.settings.protocols[name])
        return self.result

    def code(self, component: Component) -> str:
        return code_version(self.config.registry.get(component.kind, component.plugin))

    def describe(self, component: Component) -> dict[str, Any]:
        return {"code": self.code(component), "params": component.params}

    def there(self, stage: str, key: str) -> bool:
        """Look for an artifact once; a corrupt one is removed and counts as missing."""
        slot = ArtifactId(stage, key)
        if slot not in self.known:
            exists = self.store.has(stage, key)
            if exists and self.options.fresh:
                self.result.stale.append(slot)
                exists = False
            if exists and not self.store.check(stage, key):
                self.result.corrupt.append(f"{stage}/{key}")
                exists = False
            self.known[slot] = exists
            if exists:
                self.result.cached[stage] = self.result.cached.get(stage, 0) + 1
        return self.known[slot]

    def add(self, task: Task, key: str, title: str, cost: float) -> None:
        job_id = f"{task.stage}/{key}"
        self.result.jobs.setdefault(job_id, Job(job_id, title, task, cost))

    def evaluator(self, dataset: str, name: str) -> str:
        """Return the key of an evaluator."""
        data = self.data[dataset]
        described = {"evaluator": name, "data": data, "version": EVALUATOR_VERSION}
        if name == "inception":
            described["weights"] = self.options.inception_sha256
        key = content_key(described)
        if not self.there("evaluator", key):
            task = EvaluatorTask(
                key=key,
                data=data,
                evaluator=name,
                seed=derive_seed("evaluator", 0),
                weights=self.options.inception_weights,
                cache=self.options.cache,
            )
            self.add(task, key, f"{name} evaluator of {dataset}", 40)
        return key

    def public(self, trial: Trial) -> str:
        component, data = trial.method.public, self.data[trial.dataset.name]
        described = {**self.describe(component), "data": data, "version": STAGE_VERSION}
        key = content_key(described)
        if not self.there("public", key):
            cls = self.config.registry.get("public", component.plugin).cls
            task = PublicTask(key, data, component, derive_seed("public", content_key(described)))
            self.add(task, key, f"{component.name} on {trial.dataset.name}", cls.cost)
        return key

    def latents(self, trial: Trial) -> str:
        public_key = self.public(trial)
        component = trial.method.extractor
        described = {
            **self.describe(component),
            "public": public_key,
            "latents": trial.latents,
            "version": STAGE_VERSION,
        }
        key = content_key(described)
        if not self.there("latents", key):
            cls = self.config.registry.get("extractor", component.plugin).cls
            task = LatentsTask(
                key=key,
                data=self.data[trial.dataset.name],
                public=public_key,
                model=trial.method.public,
                extractor=component,
                latents=trial.latents,
                seed=derive_seed("latents", content_key(described)),
            )
            title = f"{trial.method.public.name} latents by {component.name}"
            self.add(task, key, title, cls.cost)
        return key

    def train(self, trial: Trial) -> str:
        """Return the key of a trial's trained generator, planning it if need be."""
        latents_key = self.once("latents", trial, self.latents)
        component = trial.method.generator
        epsilon = math.inf if trial.epsilon is None else trial.epsilon
        secure = self.config.settings.secure_rng
        described = {
            "params": component.params,
            "latents": latents_key,
            "epsilon": str(epsilon),
            "noise_multiplier": trial.noise_multiplier,
            "delta": trial.delta,
            "clip": trial.clip,
            "seed": trial.seed,
        }
        code = {"code": self.code(component), "secure_rng": secure, "version": STAGE_VERSION}
        key = content_key({**described, **code})
        # Code versions name artifacts but must not change what is drawn.
        self.sample_seeds[key] = derive_seed("samples", content_key(described))
        if not self.there("generator", key):
            lane = Lane(
                key=key,
                params=component.params,
                epsilon=epsilon,
                noise_multiplier=trial.noise_multiplier,
                delta=trial.delta,
                clip=trial.clip,
                seed=derive_seed("generator", content_key(described)),
            )
            self.group(trial, latents_key, lane)
        return key

    def diverged(self, trained: str) -> bool:
        """Say whether a finished generator has nothing to score."""
        if not self.there("generator", trained):
            return False
        return bool(self.store.load("generator", trained).meta["diverged"])

    def cache(self, slot: tuple[str, ...], compute: Callable[[], T]) -> T:
        """Return ``compute()``, computed once per ``slot``."""
        key = "/".join(slot)
        if key not in self.remembered:
            self.remembered[key] = compute()
        value: T = self.remembered[key]
        return value

    def metrics(self, protocol: Protocol) -> list[tuple[str, Component, str]]:
        """Return a protocol's metrics: name, component, and a digest of both code and params."""
        found = []
        for name in protocol.metrics:
            component = self.config.component("metrics", name, protocol.params.get(name, {}))
            found.append((name, component, content_key(self.describe(component))))
        return found

    def once(self, kind: str, trial: Trial, compute: Any) -> Any:
        """Work out what trials of one method and data set share only once."""
        slot = f"{kind}/{trial.dataset.name}/{id(trial.method)}/{id(trial.latents)}"
        if slot not in self.remembered:
            self.remembered[slot] = (compute(trial), trial)  # keep the objects, so ids stay theirs
        return self.remembered[slot][0]

    def group(self, trial: Trial, latents_key: str, lane: Lane) -> None:
        component = trial.method.generator
        cls = self.config.registry.get("generator", component.plugin).cls
        shared = {k: v for k, v in lane.params.items() if k not in cls.lane_params}
        base = content_key([latents_key, component.plugin, shared])
        slot = base
        while slot in self.groups and len(self.groups[slot][0].lanes) >= MAX_LANES:
            slot += "+"
        if slot in self.groups:
            task, cost, title = self.groups[slot]
            if lane.key in {known.key for known in task.lanes}:
                return
            task = replace(task, lanes=(*task.lanes, lane))
        else:
            secure = self.config.settings.secure_rng
            task = GeneratorTask(latents_key, component, (lane,), secure)
            cost, title = cls.cost, trial.method.name
        self.groups[slot] = (task, cost, title)

    def flush_groups(self) -> None:
        for slot, (task, cost, title) in self.groups.items():
            count = len(task.lanes)
            name = f"{title}, {count} trial{'s' * (count > 1)}"
            self.add(task, slot, name, cost * (0.5 + 0.1 * count))

    def score_trial(self, trial: Trial, trained: str, protocol: Protocol) -> None:
        public_key = self.once("public", trial, self.public)
        latents_key = self.once("latents", trial, self.latents)
        self.score(
            ScoreTask(
                source="trial",
                samples=content_key(["samples", trained]),
                data=self.data[trial.dataset.name],
                evaluator="",
                labeller="",
                protocol=protocol,
                metrics=(),
                seed=self.sample_seeds[trained],
                model=trial.method.public,
                public=public_key,
                latents=latents_key,
                generator=trial.method.generator,
                trained=trained,
            ),
            Cell(
                protocol=protocol,
                dataset=trial.dataset.name,
                settings=trial.settings,
                scores={},
                trial=trial,
                trained=trained,
                artifacts={"public": public_key, "latents": latents_key, "generator": trained},
            ),
            f"{trial.method.name} at epsilon {trial.epsilon or f'sigma {trial.noise_multiplier}'}",
        )

    def controls(self, trial: Trial, protocol: Protocol) -> None:
        """Plan the rows that cost or give no privacy, once per what they depend on."""
        data = self.data[trial.dataset.name]
        public_key = self.once("public", trial, self.public)
        latents_key = self.once("latents", trial, self.latents)
        through = {"model": trial.method.public, "public": public_key, "latents": latents_key}
        sources: list[tuple[Source, dict[str, Any]]] = [
            ("real", {}),
            ("public-images", {}),
            ("reconstruction", through),
            ("public-prior", through),
        ]
        for source, upstream in sources:
            samples = content_key([source, data, upstream.get("latents"), STAGE_VERSION])
            slot = f"{samples}/{protocol.name}/{trial.settings}"
            if slot in self.remembered:
                continue
            self.remembered[slot] = True
            task = ScoreTask(
                source=source,
                samples=samples,
                data=data,
                evaluator="",
                labeller="",
                protocol=protocol,
                metrics=(),
                seed=derive_seed("samples", samples),
                **upstream,
            )
            cell = Cell(
                protocol=protocol,
                dataset=trial.dataset.name,
                settings=trial.settings,
                scores={},
                control=source,
                public=trial.method.public.name if upstream else None,
                extractor=trial.method.extractor.name if upstream else None,
                artifacts={"public": public_key, "latents": latents_key} if upstream else {},
            )
            self.score(task, cell, f"control {source}")

    def score(self, task: ScoreTask, cell: Cell, title: str) -> None:
        """Add the scoring job of a cell, for those metrics that are still missing."""
        protocol = cell.protocol
        evaluator_key = self.cache(
            ("evaluator", cell.dataset, protocol.evaluator),
            lambda: self.evaluator(cell.dataset, protocol.evaluator),
        )
        labeller_key = self.cache(
            ("evaluator", cell.dataset, "domain"), lambda: self.evaluator(cell.dataset, "domain")
        )
        metrics = self.cache(("metrics", protocol.name), lambda: self.metrics(protocol))
        seen_as = {"samples": task.samples, "count": protocol.samples, "evaluator": evaluator_key}
        features = content_key(seen_as)
        scores: dict[str, str] = {}
        missing: list[tuple[Component, str]] = []
        for name, component, described in metrics:
            key = content_key([features, protocol.reference, described, STAGE_VERSION])
            scores[name] = key
            if not self.there("score", key):
                missing.append((component, key))
        if task.trained and self.diverged(task.trained):
            missing = []
        if missing and self.options.fresh:
            self.there("features", features)
        if missing:
            full = replace(
                task,
                samples=features,
                evaluator=evaluator_key,
                labeller=labeller_key,
                metrics=tuple(missing),
            )
            self.add(full, f"{features}/{protocol.name}", title, 4)
        self.result.cells.append(
            replace(
                cell,
                scores=scores,
                artifacts={**cell.artifacts, "features": features},
            )
        )

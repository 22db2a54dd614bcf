"""From trials to tasks: what is shared, what is already there, what is still to be done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from dpbench.component import Component
from dpbench.metrics.protocol import LABELLER, Protocol
from dpbench.planning import keys
from dpbench.planning.code_version import code_version, stage_version
from dpbench.planning.config import Config
from dpbench.planning.finder import Finder
from dpbench.planning.invalid import InvalidConfig
from dpbench.planning.lanes import Candidate, companies, group_lanes
from dpbench.planning.plan import Job, Options, Plan, Row
from dpbench.planning.trials import Trial
from dpbench.stages import (
    DataKeys,
    EvaluatorTask,
    Lane,
    LatentsTask,
    PublicTask,
    ReferencesTask,
    ReplayTask,
    ScoreTask,
    Source,
    Task,
)
from dpbench.store import ArtifactId, Store, content_key

__all__ = ["BUILT_IN", "make_plan"]


#: The distribution whose generators are replayed in its own tests, and not in every run.
BUILT_IN = "dpbench"


def make_plan(
    config: Config,
    trials: Iterable[Trial],
    data: dict[str, DataKeys],
    store: Store,
    options: Options,
) -> Plan:
    """Work out every task that ``trials`` need and that the store does not have.

    ``data`` gives the fingerprints of each data set by its configured name. Nothing
    in the store is changed.
    """
    return _Planner(config, data, store, options).plan(list(trials))


class _Upstream(NamedTuple):
    """Keys of what trials of one public model and extractor share."""

    public: str
    latents: str


class _Against(NamedTuple):
    """Keys of what images are scored with, and against."""

    evaluator: str
    labeller: str
    references: str


class _Measure(NamedTuple):
    """A metric under a protocol, with a digest of its code and parameters."""

    name: str
    component: Component
    digest: str


class _Planner:
    """Builds a plan; remembers what many trials share."""

    def __init__(
        self, config: Config, data: dict[str, DataKeys], store: Store, options: Options
    ) -> None:
        self.config, self.data, self.store, self.options = config, data, store, options
        self.result = Plan()
        self.there = Finder(store, self.result, options.fresh)
        self.methods: dict[str, str] = {}
        self.replays: dict[str, str] = {}
        self.upstreams: dict[tuple[str, str, str, str], _Upstream] = {}
        self.judges: dict[str, dict[ArtifactId, None]] = {}
        self.againsts: dict[tuple[str, str], _Against] = {}
        self.measures: dict[str, list[_Measure]] = {}
        self.controlled: set[tuple[str, str, str, str]] = set()

    def plan(self, trials: list[Trial]) -> Plan:
        protocols = self.config.file.protocols
        trained = [self.train(trial) for trial in trials]
        for trial, key in zip(trials, trained, strict=True):
            self.judge(trial, key)
        self.add_groups()
        self.add_replays()
        for trial, key in zip(trials, trained, strict=True):
            for name in trial.protocols:
                self.score_trial(trial, key, protocols[name])
        if self.options.controls:
            for trial in trials:
                for name in trial.protocols:
                    self.controls(trial, protocols[name])
        return self.result

    def judge(self, trial: Trial, trained: str) -> None:
        """Note the evaluators that are to be judged before a trial learns anything private."""
        for name in trial.protocols:
            evaluator = self.config.file.protocols[name].evaluator
            against = self.against(trial.dataset.name, evaluator)
            for key in (against.evaluator, against.labeller):
                self.judges.setdefault(trained, {})[ArtifactId("evaluator", key)] = None

    def code(self, component: Component) -> str:
        """Name what computes: a component's code, and the threads that it has."""
        version = code_version(self.config.registry.get(component.kind, component.plugin))
        return f"{version}/{self.config.file.limits.threads}"

    def cost(self, component: Component) -> float:
        cost: float = self.config.registry.get(component.kind, component.plugin).cls.cost
        return cost

    def add(
        self, task: Task, key: str, title: str, cost: float, after: Iterable[ArtifactId] = ()
    ) -> None:
        job_id = f"{task.stage}/{key}"
        self.result.jobs.setdefault(job_id, Job(job_id, title, task, cost, tuple(after)))

    def evaluator(self, dataset: str, name: str) -> str:
        """Return the key of an evaluator."""
        data, evaluator = self.data[dataset], self.config.component("evaluators", name)
        weights = self.options.released.get(name)
        sha256 = weights.sha256 if weights else None
        key = keys.evaluator_key(evaluator, self.code(evaluator), data, sha256)
        if not self.there("evaluator", key):
            task = EvaluatorTask(
                key,
                data.labelling,
                data.test,
                data.private_classes,
                evaluator,
                keys.evaluator_seed(evaluator),
                weights.path if weights else None,
            )
            self.add(task, key, f"{name} evaluator of {dataset}", self.cost(evaluator))
        return key

    def against(self, dataset: str, evaluator: str) -> _Against:
        """Return the keys of what a data set's samples are scored with, and against."""
        slot = (dataset, evaluator)
        if slot not in self.againsts:
            key, labeller = self.evaluator(dataset, evaluator), self.evaluator(dataset, LABELLER)
            references = keys.references_key(key, self.data[dataset])
            if not self.there("references", references):
                task = ReferencesTask(references, self.data[dataset], key)
                self.add(task, references, f"{dataset} seen by the {evaluator} evaluator", 10)
            self.againsts[slot] = _Against(key, labeller, references)
        return self.againsts[slot]

    def public(self, trial: Trial) -> str:
        model, images = trial.method.public, self.data[trial.dataset.name].public
        key = keys.public_key(model, self.code(model), images)
        if not self.there("public", key):
            task = PublicTask(key, images, model, keys.public_seed(model))
            self.add(task, key, f"{model.name} on {trial.dataset.name}", self.cost(model))
        return key

    def latents(self, trial: Trial, public: str) -> str:
        method, data = trial.method, self.data[trial.dataset.name]
        extractor = method.extractor
        key = keys.latents_key(public, extractor, self.code(extractor), trial.latents, data)
        if not self.there("latents", key):
            seed = keys.latents_seed(method, trial.latents)
            task = LatentsTask(key, data, public, method.public, extractor, trial.latents, seed)
            title = f"{method.public.name} latents by {extractor.name}"
            self.add(task, key, title, self.cost(extractor))
        return key

    def sharpening(self, trial: Trial) -> str | None:
        """Name the code that sharpens a trial's images, if any does."""
        return stage_version("detail") if trial.sharpen else None

    def upstream(self, trial: Trial) -> _Upstream:
        """Return the keys of what a trial learns and decodes by, planning it if need be."""
        method, latents = trial.method, content_key(trial.latents)
        slot = (trial.dataset.name, method.public.digest, method.extractor.digest, latents)
        if slot not in self.upstreams:
            public = self.public(trial)
            self.upstreams[slot] = _Upstream(public, self.latents(trial, public))
        return self.upstreams[slot]

    def train(self, trial: Trial) -> str:
        """Return the key of a trial's trained generator, planning it if need be."""
        latents, generator = self.upstream(trial).latents, trial.method.generator
        secure = self.config.file.secure_rng
        classes = self.classes(trial)
        key = keys.generator_key(latents, trial, self.code(generator), secure, classes)
        if key not in self.result.candidates:
            seeds = keys.trial_seeds(trial)
            lane = Lane(
                key=key,
                params=generator.params,
                epsilon=keys.trial_epsilon(trial),
                noise_multiplier=trial.noise_multiplier,
                delta=trial.delta,
                clip=trial.clip,
                seed=seeds.training,
                noise_seed=seeds.noise,
            )
            apart = self.config.registry.get("generator", generator.plugin).cls.lane_params
            self.result.candidates[key] = Candidate(lane, latents, generator, apart, classes)
            self.methods[key] = trial.method.name
        return key

    def classes(self, trial: Trial) -> tuple[int, ...]:
        """Return the private classes where a trial learns labels."""
        if trial.labels == "none":
            return ()
        return self.data[trial.dataset.name].private_classes

    def add_groups(self) -> None:
        """Add the jobs that train what is not there."""
        missing = [
            c for key, c in self.result.candidates.items() if not self.there("generator", key)
        ]
        for task in group_lanes(missing, self.config.file.secure_rng):
            count, first = len(task.lanes), task.lanes[0].key
            title = f"{self.methods[first]}, {count} trial{'s' * (count > 1)}"
            after = {name: None for lane in task.lanes for name in self.judges.get(lane.key, ())}
            self.add(task, first, title, self.cost(task.generator) * (0.5 + 0.1 * count), after)

    def replayed(self, candidate: Candidate) -> bool:
        """Say whether a trial is replayed in a run: strangers' private ones are."""
        origin = self.config.registry.get("generator", candidate.generator.plugin).distribution
        return candidate.lane.private and (self.options.replay_all or origin != BUILT_IN)

    def add_replays(self) -> None:
        """Add the jobs that replay companies, each by its first and its last trial."""
        for company in companies(filter(self.replayed, self.result.candidates.values())):
            ends = company[:1] if len(company) == 1 else [company[0], company[-1]]
            lanes = tuple(candidate.lane for candidate in ends)
            names = tuple(lane.key for lane in lanes)
            code, check = self.code(company[0].generator), stage_version("replay")
            key = keys.replay_key(company[0].company, code, check)
            self.replays.update({candidate.lane.key: key for candidate in company})
            if not self.there("replay", key):
                seed = keys.replay_seed([lane.seed for lane in lanes])
                trained = () if self.options.replay_all else names
                head = company[0]
                task = ReplayTask(
                    key, head.latents, head.generator, lanes, seed, trained, head.classes
                )
                # Before scores, so that rows are whole one after the other.
                cost = 5 + self.cost(head.generator)
                self.add(task, key, f"replay of {self.methods[names[0]]}", cost)

    def diverged(self, trained: str) -> bool:
        """Say whether a finished generator has nothing to score."""
        if not self.there("generator", trained):
            return False
        return bool(self.store.meta("generator", trained)["diverged"])

    def metrics(self, protocol: Protocol) -> list[_Measure]:
        """Return a protocol's metrics."""
        if protocol.name not in self.measures:
            if shared := self.config.shared_column(protocol.metrics):
                raise InvalidConfig(f"protocol {protocol.name}: {shared}")
            found = []
            for name in protocol.metrics:
                given = protocol.params.get(name, {})
                component = self.config.component("metrics", name, given)
                digest = content_key([component.digest, self.code(component)])
                found.append(_Measure(name, component, digest))
            self.measures[protocol.name] = found
        return self.measures[protocol.name]

    def score_trial(self, trial: Trial, trained: str, protocol: Protocol) -> None:
        upstream, method = self.upstream(trial), trial.method
        against = self.against(trial.dataset.name, protocol.evaluator)
        task = ScoreTask(
            source="trial",
            samples=keys.trial_samples_key(trained, self.sharpening(trial)),
            data=self.data[trial.dataset.name],
            **against._asdict(),
            protocol=protocol,
            metrics=(),
            seed=keys.trial_seeds(trial).samples,
            model=method.public,
            **upstream._asdict(),
            generator=method.generator,
            trained=trained,
            labelled=trial.labels == "private",
            sharpened=trial.sharpen,
        )
        replay = self.replays.get(trained)
        replayed = {"replay": replay} if replay else {}
        row = Row(
            protocol=protocol,
            dataset=trial.dataset.name,
            settings=trial.settings,
            scores={},
            trial=trial,
            trained=trained,
            replay=replay,
            classes=self.classes(trial),
            public_images=self.data[trial.dataset.name].public,
            artifacts={**upstream._asdict(), **replayed, "generator": trained},
        )
        noise = trial.epsilon or f"sigma {trial.noise_multiplier}"
        self.score(task, row, f"{method.name} at epsilon {noise}")

    def controls(self, trial: Trial, protocol: Protocol) -> None:
        """Plan the rows that cost or give no privacy, once per what they depend on."""
        self.control(trial, protocol, "real", None)
        self.control(trial, protocol, "public-images", None)
        upstream = self.upstream(trial)
        self.control(trial, protocol, "reconstruction", upstream)
        self.control(trial, protocol, "public-prior", upstream)

    def control(
        self, trial: Trial, protocol: Protocol, source: Source, upstream: _Upstream | None
    ) -> None:
        data, method = self.data[trial.dataset.name], trial.method
        latents = upstream.latents if upstream else None
        samples = keys.control_samples_key(source, data, latents, self.sharpening(trial))
        slot = (samples, protocol.name, trial.settings, trial.labels)
        if slot in self.controlled:
            return
        self.controlled.add(slot)
        task = ScoreTask(
            source=source,
            samples=samples,
            data=data,
            **self.against(trial.dataset.name, protocol.evaluator)._asdict(),
            protocol=protocol,
            metrics=(),
            seed=keys.control_seed(source, method if upstream else None, trial.latents),
            model=method.public if upstream else None,
            **(upstream._asdict() if upstream else {}),
            sharpened=trial.sharpen,
        )
        row = Row(
            protocol=protocol,
            dataset=trial.dataset.name,
            settings=trial.settings,
            scores={},
            control=source,
            labels=trial.labels,
            public=method.public.name if upstream else None,
            extractor=method.extractor.name if upstream else None,
            artifacts=upstream._asdict() if upstream else {},
        )
        through = f" {method.public.name}-{method.extractor.name}" if upstream else ""
        self.score(task, row, f"control {source}{through}")

    def score(self, task: ScoreTask, row: Row, title: str) -> None:
        """Add the scoring job of a row, for those metrics that are still missing."""
        protocol = row.protocol
        features = keys.features_key(task.samples, protocol.samples, task.evaluator)
        scores: dict[str, str] = {}
        missing: list[tuple[Component, str]] = []
        for name, component, digest in self.metrics(protocol):
            key = keys.score_key(features, task.references, task.labeller, protocol, digest)
            scores[name] = key
            if not self.there("score", key):
                missing.append((component, key))
        if task.trained and self.diverged(task.trained):
            missing = []
        if missing:
            if self.options.fresh:
                self.there("features", features)
            full = replace(task, samples=features, metrics=tuple(missing))
            self.add(full, f"{features}/{protocol.name}", title, 4)
        artifacts = {**row.artifacts, "features": features}
        self.result.rows.append(replace(row, scores=scores, artifacts=artifacts))

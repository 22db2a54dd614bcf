"""What a plan is made of: jobs still to be done, and rows of results to come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dpbench.api import Weights
from dpbench.metrics.protocol import Protocol
from dpbench.planning.lanes import Candidate
from dpbench.planning.trials import Trial
from dpbench.results.identity import Labels
from dpbench.stages import Source, Task
from dpbench.store import ArtifactId

__all__ = ["Job", "Options", "Plan", "Row"]


@dataclass(frozen=True)
class Options:
    """What a run may vary without being another benchmark.

    Attributes:
        weights: files of released weights that the user names, by evaluator.
        released: released weights as they were found, by evaluator.
        controls: also plan the rows that cost or give no privacy.
        fresh: compute again what is there.
        replay_all: replay built-in generators too.
    """

    weights: Mapping[str, Path] = field(default_factory=dict)
    released: Mapping[str, Weights] = field(default_factory=dict)
    controls: bool = True
    fresh: bool = False
    replay_all: bool = False


@dataclass(frozen=True)
class Job:
    """A task with a name for readers and a guess at its cost in seconds.

    ``after`` are artifacts that it does not read, and without which it is not to run.
    """

    id: str
    title: str
    task: Task
    cost: float
    after: tuple[ArtifactId, ...] = ()

    @property
    def needs(self) -> list[ArtifactId]:
        """The artifacts that must be there before it runs."""
        return [*self.task.reads(), *self.after]

    def parts(self) -> list[Job]:
        """Return the jobs to try after this one failed as a whole; none if it has no parts."""
        tasks = self.task.split()
        return [
            Job(
                f"{self.id}/{number}",
                f"{self.title} ({number} of {len(tasks)}, alone)",
                task,
                self.cost / len(tasks),
                self.after,
            )
            for number, task in enumerate(tasks, 1)
        ]


@dataclass(frozen=True)
class Row:
    """One row of results to come: a trial or a control, under one protocol."""

    protocol: Protocol
    dataset: str
    settings: str
    scores: dict[str, str]
    trial: Trial | None = None
    control: Source | None = None
    labels: Labels = "none"
    public: str | None = None
    extractor: str | None = None
    trained: str | None = None
    replay: str | None = None
    classes: tuple[int, ...] = ()
    public_images: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> list[ArtifactId]:
        """The artifacts whose content the row shows: generator, replay and scores."""
        trained = [ArtifactId("generator", self.trained)] if self.trained else []
        replay = [ArtifactId("replay", self.replay)] if self.replay else []
        scores = [ArtifactId("score", key) for key in self.scores.values()]
        return [*trained, *replay, *scores]


@dataclass
class Plan:
    """Jobs still to be done, by id, and all rows.

    Attributes:
        candidates: the trials to train, by the keys of their generators.
        cached: number of finished artifacts by stage.
        corrupt: artifacts that are damaged.
        outdated: artifacts made of others than there are now under the same names.
        stale: artifacts to be removed before the jobs run: those that are damaged or
            outdated, or all of them where all is to be fresh.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    candidates: dict[str, Candidate] = field(default_factory=dict)
    cached: dict[str, int] = field(default_factory=dict)
    corrupt: list[ArtifactId] = field(default_factory=list)
    outdated: list[ArtifactId] = field(default_factory=list)
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
                queue += job.needs
        return {job_id: job for job_id, job in self.jobs.items() if job_id in found}

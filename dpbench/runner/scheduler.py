"""Runs the jobs of a plan on an executor, longest chains first."""

from __future__ import annotations

import functools
import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from dpbench.api import Executor, Outcome
from dpbench.planning.plan import Job
from dpbench.runner.withheld import Tell
from dpbench.store import ArtifactId, Store

__all__ = ["Count", "Loss", "Progress", "run_jobs", "warnings_of"]

TICK = 0.25


@dataclass(frozen=True)
class Loss:
    """Why an artifact will never come: which one was to be written, by what, and what failed."""

    origin: ArtifactId
    title: str
    reason: str


@dataclass(frozen=True)
class Count:
    """Artifacts of one stage in this run."""

    total: int
    done: int
    failed: int

    @property
    def left(self) -> int:
        return self.total - self.done - self.failed


@dataclass
class Progress:
    """Where a run stands; what a progress display reads.

    Attributes:
        jobs: by id; a group that was split is replaced by its parts.
        done, failed, skipped, split: how jobs ended, by id: reasons of the failed, what
            the skipped lacked, and why a group was split.
        expected: every artifact that the jobs are to write.
        written, lost: those that were, and those that will never come.
        running: the fraction done of each job at work, by id.
    """

    jobs: dict[str, Job]
    started: float = field(default_factory=time.monotonic)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, Loss] = field(default_factory=dict)
    split: dict[str, str] = field(default_factory=dict)
    expected: set[ArtifactId] = field(default_factory=set)
    written: set[ArtifactId] = field(default_factory=set)
    lost: dict[ArtifactId, Loss] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)

    @property
    def ended(self) -> int:
        """How many of the jobs have ended, well or not."""
        return len(self.done) + len(self.failed) + len(self.skipped)

    def pending(self, artifact: ArtifactId) -> bool:
        """Say whether a job of this run may still write an artifact."""
        settled = artifact in self.written or artifact in self.lost
        return artifact in self.expected and not settled

    def settled(self, artifacts: Iterable[ArtifactId]) -> bool:
        """Say whether none of ``artifacts`` may still come."""
        return not any(map(self.pending, artifacts))

    def counts(self) -> dict[str, Count]:
        """Return how many artifacts of each stage there are, are written and are lost."""
        total, done, lost = (
            Counter(artifact.stage for artifact in artifacts)
            for artifacts in (self.expected, self.written, self.lost)
        )
        return {stage: Count(total[stage], done[stage], lost[stage]) for stage in total}

    def seconds_left(self) -> float | None:
        """Estimate from the share of estimated cost done so far; ``None`` at first."""
        cost = {job_id: job.cost for job_id, job in self.jobs.items()}
        total = sum(cost.values())
        finished = sum(cost[j] for j in (*self.done, *self.skipped, *self.failed) if j in cost)
        finished += sum(cost[j] * fraction for j, fraction in self.running.items() if j in cost)
        elapsed = time.monotonic() - self.started
        if not total or finished < 0.02 * total:
            return None
        return elapsed * (total - finished) / finished


OnChange = Callable[[Progress, Job | None], None]


def warnings_of(job: Job, store: Store) -> list[str]:
    """Return what a job that is done found fault with, in what it made.

    Of a trial that diverged there is nothing to score, and no score is made.
    """
    made = (artifact for artifact in job.task.writes() if store.has(*artifact))
    found = (store.meta(*artifact).get("warning", "") for artifact in made)
    return [warning for warning in found if warning]


def run_jobs(
    jobs: dict[str, Job],
    executor: Executor,
    on_change: OnChange = lambda _p, _j: None,
    tell: Tell = lambda _job, reason: reason,
) -> Progress:
    """Run all ``jobs``; a failure skips what reads its artifacts and nothing else.

    A task that fails as a whole is run again in the parts it splits into, so that
    one bad trial cannot take its neighbours along; whoever waits for an artifact
    waits on. ``on_change`` is called at every tick, and with a job when it ends.
    ``tell`` says what may be told of why a job failed.
    """
    run = _Run(jobs, on_change)
    progress = run.progress
    while run.ready or progress.running:
        for job in run.take(executor.slots - len(progress.running)):
            executor.submit(job.id, job.task)
        for outcome in executor.wait(TICK):
            job = progress.jobs[outcome.job_id]
            failures = {key: tell(job, reason) for key, reason in outcome.failures.items()}
            error = None if outcome.error is None else tell(job, outcome.error)
            run.settle(replace(outcome, failures=failures, error=error))
        at_work = executor.progress()
        progress.running.update({j: f for j, f in at_work.items() if j in progress.running})
        on_change(progress, None)
    return progress


class _Run:
    """What waits for what: jobs become ready as the artifacts they read are written."""

    def __init__(self, jobs: dict[str, Job], on_change: OnChange) -> None:
        self.on_change = on_change
        self.progress = Progress({})
        self.urgency = _chain_lengths(jobs)
        self.order = itertools.count()
        self.ready: list[tuple[float, int, str]] = []
        self.readers: dict[ArtifactId, list[str]] = {}
        self.missing: dict[str, set[ArtifactId]] = {}
        self.progress.expected = {a for job in jobs.values() for a in job.task.writes()}
        for job in jobs.values():
            self.add(job)

    def add(self, job: Job) -> None:
        self.progress.jobs[job.id] = job
        missing = set(filter(self.progress.pending, job.needs))
        self.missing[job.id] = missing
        for artifact in missing:
            self.readers.setdefault(artifact, []).append(job.id)
        if not missing:
            self.make_ready(job.id)

    def make_ready(self, job_id: str) -> None:
        heapq.heappush(self.ready, (-self.urgency[job_id], next(self.order), job_id))

    def take(self, count: int) -> list[Job]:
        """Hand out the most urgent of the jobs that are ready."""
        taken = [heapq.heappop(self.ready)[2] for _ in range(min(count, len(self.ready)))]
        self.progress.running.update(dict.fromkeys(taken, 0.0))
        return [self.progress.jobs[job_id] for job_id in taken]

    def settle(self, outcome: Outcome) -> None:
        """Record how a job ended, and what that means for those that wait."""
        job, progress = self.progress.jobs[outcome.job_id], self.progress
        del progress.running[job.id]
        parts = job.parts() if outcome.error is not None else []
        if parts:
            self.replace(job, parts, outcome.error or "")
        elif outcome.error is not None:
            progress.failed[job.id] = outcome.error
            self.lose(job, dict.fromkeys(job.task.writes(), outcome.error))
        else:
            progress.done.add(job.id)
            lost = {
                a: outcome.failures[a.key] for a in job.task.writes() if a.key in outcome.failures
            }
            for artifact in job.task.writes():
                if artifact not in lost:
                    self.arrive(artifact)
            self.lose(job, lost)
        self.on_change(progress, job)

    def replace(self, job: Job, parts: list[Job], reason: str) -> None:
        del self.progress.jobs[job.id]
        self.progress.split[job.id] = reason
        for part in parts:
            self.urgency[part.id] = self.urgency[job.id]
            self.add(part)

    def arrive(self, artifact: ArtifactId) -> None:
        self.progress.written.add(artifact)
        for job_id in self.readers.pop(artifact, ()):
            self.missing[job_id].discard(artifact)
            if not self.missing[job_id] and job_id not in self.progress.skipped:
                self.make_ready(job_id)

    def lose(self, job: Job, reasons: dict[ArtifactId, str]) -> None:
        for artifact, reason in reasons.items():
            self.give_up(artifact, Loss(artifact, job.title, reason))

    def give_up(self, artifact: ArtifactId, loss: Loss) -> None:
        """Skip all that reads an artifact which will never come, and all that reads theirs."""
        self.progress.lost[artifact] = loss
        for job_id in self.readers.pop(artifact, ()):
            if job_id in self.progress.skipped:
                continue
            self.progress.skipped[job_id] = loss
            job = self.progress.jobs[job_id]
            for left in job.task.writes():
                self.give_up(left, loss)
            self.on_change(self.progress, job)


def _chain_lengths(jobs: dict[str, Job]) -> dict[str, float]:
    """Return for each job its cost plus that of the longest chain behind it."""
    writers = {artifact: job.id for job in jobs.values() for artifact in job.task.writes()}
    followers: dict[str, set[str]] = {job_id: set() for job_id in jobs}
    for job in jobs.values():
        for artifact in job.needs:
            if artifact in writers:
                followers[writers[artifact]].add(job.id)

    @functools.cache
    def length(job_id: str) -> float:
        return jobs[job_id].cost + max(map(length, followers[job_id]), default=0.0)

    return {job_id: length(job_id) for job_id in jobs}

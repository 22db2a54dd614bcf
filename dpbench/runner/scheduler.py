"""Runs the jobs of a plan on an executor, longest chains first."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dpbench.api import Executor, Outcome
from dpbench.planning.plan import Job
from dpbench.stages import GeneratorTask, outputs

__all__ = ["Progress", "run_jobs"]

TICK = 0.25


@dataclass
class Progress:
    """Where a run stands; what a progress display reads.

    ``failed`` holds the reason by job id, and by artifact key for single lanes;
    ``skipped`` the id of the failed job upstream, by job id.
    """

    jobs: dict[str, Job]
    started: float = field(default_factory=time.monotonic)
    done: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    slots: int = 1

    def seconds_left(self) -> float | None:
        """Estimate from the share of estimated cost done so far; ``None`` at first."""
        cost = {job_id: job.cost for job_id, job in self.jobs.items()}
        total = sum(cost.values())
        finished = sum(cost[j] for j in (*self.done, *self.skipped) if j in cost)
        finished += sum(cost[j] for j in self.failed if j in cost)
        finished += sum(cost[j] * fraction for j, fraction in self.running.items() if j in cost)
        elapsed = time.monotonic() - self.started
        if not total or finished < 0.02 * total:
            return None
        return elapsed * (total - finished) / finished


def run_jobs(
    jobs: dict[str, Job],
    executor: Executor,
    on_change: Callable[[Progress, Job | None], None] = lambda _p, _j: None,
) -> Progress:
    """Run all ``jobs``; a failure skips what depends on it and nothing else.

    A group of lanes that fails as a whole is run again lane by lane, so that
    one bad trial cannot take its neighbours along. ``on_change`` is called at
    every tick, and with a job when it ends.
    """
    progress = Progress(dict(jobs), slots=executor.slots)
    waiting = dict(jobs)
    urgency = _chain_lengths(jobs)
    while waiting or progress.running:
        for job_id in list(waiting):
            culprit = _blocked_by(waiting[job_id], progress)
            if culprit:
                progress.skipped[job_id] = culprit
                on_change(progress, waiting.pop(job_id))
        ready = [job for job in waiting.values() if _is_ready(job, progress)]
        ready.sort(key=lambda job: -urgency[job.id])
        for job in ready[: executor.slots - len(progress.running)]:
            del waiting[job.id]
            progress.running[job.id] = 0.0
            executor.submit(job.id, job.task)
        for outcome in executor.wait(TICK):
            job = progress.jobs[outcome.job_id]
            del progress.running[outcome.job_id]
            singles = _settle(job, outcome, progress)
            for single in singles:
                progress.jobs[single.id] = waiting[single.id] = single
                urgency[single.id] = urgency[job.id]
            if singles:
                _rewire(progress, waiting, job, singles)
            on_change(progress, job)
        progress.running.update(
            {j: f for j, f in executor.progress().items() if j in progress.running}
        )
        on_change(progress, None)
    return progress


def _settle(job: Job, outcome: Outcome, progress: Progress) -> list[Job]:
    """Record an outcome; return the single-lane jobs that a failed group becomes."""
    if outcome.error is None:
        progress.failed.update(outcome.failures)
        progress.done.add(job.id)
        return []
    task = job.task
    if isinstance(task, GeneratorTask) and len(task.lanes) > 1:
        progress.done.add(job.id)
        return [
            Job(
                f"{job.id}/{lane.key}",
                f"{job.title} (alone)",
                replace(task, lanes=(lane,)),
                (),
                job.cost / len(task.lanes),
            )
            for lane in task.lanes
        ]
    progress.failed[job.id] = outcome.error
    if isinstance(task, GeneratorTask):
        progress.failed[task.lanes[0].key] = outcome.error
    return []


def _rewire(progress: Progress, waiting: dict[str, Job], group: Job, singles: list[Job]) -> None:
    """Make each scoring job wait for its own lane instead of the failed group."""
    by_key = {outputs(single.task)[0][1]: single.id for single in singles}
    for job in list(waiting.values()):
        if group.id in job.needs:
            own = by_key.get(getattr(job.task, "trained", None) or "")
            needs = tuple(own or n if n == group.id else n for n in job.needs)
            progress.jobs[job.id] = waiting[job.id] = replace(job, needs=needs)


def _is_ready(job: Job, progress: Progress) -> bool:
    return all(need in progress.done for need in job.needs)


def _blocked_by(job: Job, progress: Progress) -> str | None:
    """Return what keeps a job from ever running: a failed need, or its own failed lane."""
    for need in job.needs:
        if need in progress.failed or need in progress.skipped:
            return progress.skipped.get(need, need)
    trained = getattr(job.task, "trained", None)
    return trained if trained in progress.failed else None


def _chain_lengths(jobs: dict[str, Job]) -> dict[str, float]:
    """Return for each job its cost plus that of the longest chain behind it."""
    followers: dict[str, list[str]] = {job_id: [] for job_id in jobs}
    for job in jobs.values():
        for need in job.needs:
            followers[need].append(job.id)

    @functools.cache
    def length(job_id: str) -> float:
        return jobs[job_id].cost + max(map(length, followers[job_id]), default=0.0)

    return {job_id: length(job_id) for job_id in jobs}

"""Compute some artifacts of a plan, and what they need, for verbs that need no scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dpbench.errors import DpbenchError
from dpbench.planning.plan import Job
from dpbench.runner.executors import make_executor
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress, run_jobs
from dpbench.store import ArtifactId

__all__ = ["compute"]


def compute(
    prepared: Prepared,
    wanted: Iterable[ArtifactId],
    device: str,
    notice: Callable[[str], None],
    *,
    may_fail: bool = False,
) -> Progress:
    """Compute those of ``wanted`` that are not there. The caller holds the directory's lock.

    Raises:
        DpbenchError: one of them, or something that they need, failed, and may not.
    """
    jobs = prepared.plan.towards(wanted)
    if not jobs:
        return Progress({})
    prepared.make_room(artifact for job in jobs.values() for artifact in job.task.writes())

    def say(progress: Progress, job: Job | None) -> None:
        if job is not None:
            notice(f"{job.title}: {progress.failed.get(job.id, 'done')}")

    with make_executor(prepared.config, prepared.directory, device=device) as executor:
        progress = run_jobs(jobs, executor, say, prepared.tell)
    if progress.failed and not may_fail:
        raise DpbenchError(next(iter(progress.failed.values())))
    return progress

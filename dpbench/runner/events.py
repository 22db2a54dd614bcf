"""Tells listening plugins what happens in a run."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dpbench.api.events import RunInfo, TaskInfo
from dpbench.planning.plan import Job
from dpbench.plugins import Listener
from dpbench.results import Result
from dpbench.runner.scheduler import Progress

__all__ = ["Announcer"]


class Announcer:
    """Turns the scheduler's progress into calls of life-cycle hooks.

    Args:
        listeners: whom to tell; what one raises is written to the log, and the next
            is told all the same.
        directory: the runs directory.
    """

    def __init__(self, listeners: Sequence[Listener], directory: Path) -> None:
        self._listeners, self._directory = listeners, directory
        self._fractions: dict[str, float] = {}

    def planned(self, jobs: Sequence[Job], results: Sequence[Result]) -> None:
        """Tell what is to be done, and the rows that are there."""
        tasks = tuple(map(_info, jobs))
        self._tell("planned", run=RunInfo(self._directory, tasks, tuple(results)))

    def changed(self, progress: Progress, job: Job | None, results: Sequence[Result]) -> None:
        """Tell what is new: tasks that run, and how ``job`` ended, with the rows it completed."""
        for job_id, fraction in progress.running.items():
            self._running(progress.jobs[job_id], fraction)
        if job is not None:
            self._ended(progress, job, results)

    def _running(self, job: Job, fraction: float) -> None:
        if job.id not in self._fractions:
            self._tell("started", task=_info(job))
        elif fraction != self._fractions[job.id]:
            self._tell("progress", task=_info(job), fraction=fraction)
        self._fractions[job.id] = fraction

    def _ended(self, progress: Progress, job: Job, results: Sequence[Result]) -> None:
        if job.id not in self._fractions and job.id not in progress.skipped:
            self._running(job, 0.0)  # it began and ended between two looks
        reason = _reason(progress, job)
        if reason is None:
            self._tell("finished", task=_info(job), results=results)
        else:
            self._tell("failed", task=_info(job), reason=reason, results=results)

    def _tell(self, event: str, **news: Any) -> None:
        for listener in self._listeners:
            try:
                getattr(listener.hook, event)(**news)
            except (Exception, SystemExit):  # a stranger's code may raise anything
                self._log(f"{listener.distribution}, {event}: {traceback.format_exc()}")

    def _log(self, text: str) -> None:
        try:
            path = self._directory / "logs" / "hooks.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{text}\n")
        except OSError:  # a log that cannot be written is done without
            pass


def _reason(progress: Progress, job: Job) -> str | None:
    """Return why a job failed or will never start; ``None`` where it ended well."""
    if (loss := progress.skipped.get(job.id)) is not None:
        return f"{loss.title} failed: {loss.reason}"
    return progress.failed.get(job.id, progress.split.get(job.id))


def _info(job: Job) -> TaskInfo:
    return TaskInfo(job.id, job.title, job.task.stage, job.cost)

"""Runs of dpbench in TensorBoard, by its life-cycle hooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dpbench import hookimpl
from dpbench.api.events import RunInfo, TaskInfo
from dpbench_tracker.rows import write_row
from dpbench_tracker.tasks import TaskLog

if TYPE_CHECKING:
    from dpbench.results import Result

__all__ = ["FOLDER", "Tracker", "tracker"]

#: Where a runs directory keeps what TensorBoard reads.
FOLDER = "tensorboard"


class Tracker:
    """Writes ``RUNS/tensorboard``: how tasks go, and every row of results.

    ``tasks/<time>`` is one run's progress, ``rows/...`` one directory for each row, with
    its figures and what they are of. A row that is made anew replaces the old one.
    """

    def __init__(self) -> None:
        self._log: TaskLog | None = None

    @hookimpl
    def planned(self, run: RunInfo) -> None:
        """Begin the run's log; write rows that are not there from an earlier one."""
        self.close()
        self._log = TaskLog(run.directory / FOLDER, run.tasks)
        for result in run.results:
            write_row(self._log.folder, result, again=False)

    @hookimpl
    def started(self, task: TaskInfo) -> None:
        """Note that a task began."""
        if self._log is not None:
            self._log.started(task)

    @hookimpl
    def progress(self, task: TaskInfo, fraction: float) -> None:
        """Draw how far a task is."""
        if self._log is not None:
            self._log.progress(task, fraction)

    @hookimpl
    def finished(self, task: TaskInfo, results: Sequence[Result]) -> None:
        """Count a task; write the rows that it completed."""
        if self._log is not None:
            self._log.finished(task)
        self._write(results)

    @hookimpl
    def failed(self, task: TaskInfo, reason: str, results: Sequence[Result]) -> None:
        """Keep a task's reason; write the rows that it completed, failed as they are."""
        if self._log is not None:
            self._log.failed(task, reason)
        self._write(results)

    def _write(self, results: Sequence[Result]) -> None:
        for result in results:
            if self._log is not None:
                write_row(self._log.folder, result, again=True)

    def close(self) -> None:
        """Finish the current run's files; done at the next run's plan otherwise."""
        if self._log is not None:
            self._log.close()
        self._log = None


#: What the package's entry point names.
tracker = Tracker()

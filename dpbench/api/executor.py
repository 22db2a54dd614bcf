"""Where tasks run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dpbench.api.plugin import Plugin

if TYPE_CHECKING:
    from dpbench.stages import Task

__all__ = ["Executor", "Outcome", "Workplace"]


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``failures`` by artifact key, or ``error`` for the task as a whole."""

    job_id: str
    failures: dict[str, str]
    error: str | None
    seconds: float


@dataclass(frozen=True)
class Workplace:
    """What the harness lends an executor.

    Attributes:
        store_root: directory of artifacts; every worker reads and writes below it.
        logs: directory for what tasks print, one file per task.
        device: what ``--device`` says: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        seconds: a task that runs longer is to be stopped; ``None`` is no limit.
        memory_gib: a task that holds more is to be stopped; ``None`` is 80% of its machine's.
        threads: how many a task computes with, however many tasks run at once: sums
            over another number of parts have other last digits.
    """

    store_root: Path
    logs: Path
    device: str = "auto"
    seconds: float | None = None
    memory_gib: float | None = None
    threads: int = 1


class Executor(Plugin, ABC):
    """Runs tasks on workers that share a store; use it as a context manager.

    Workers call :func:`dpbench.executors.worker.execute`. A task that raises, hangs
    beyond its time, eats memory beyond its limit or takes its process down gives an
    :class:`Outcome` with an error; the others go on. One that starts tasks on other
    machines is best written on :class:`dpbench.executors.remote.RemoteExecutor`.

    ``__init__`` starts nothing: it may refuse the device, or name a package that is
    missing, before any data is fetched. Workers start on entering.
    """

    kind = "executor"

    def __init__(self, params: Any, place: Workplace) -> None:
        self.params = params
        self.place = place

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Stop all workers and what they started; tasks still running are given up."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many tasks can run at once."""

    @abstractmethod
    def submit(self, job_id: str, task: Task) -> None:
        """Start a task; at most :attr:`slots` may be unfinished."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Outcome]:
        """Return what ended, after at most about ``seconds``."""

    @abstractmethod
    def progress(self) -> dict[str, float]:
        """Return the fraction done of each running task, by job id."""

"""What runs tasks: a few workers, here or on a cluster, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from dpbench.stages import Task

__all__ = ["Executor", "Outcome", "over_memory", "over_time"]


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``failures`` by key, or ``error`` for the task as a whole."""

    job_id: str
    failures: dict[str, str]
    error: str | None
    seconds: float


class Executor(ABC):
    """Runs tasks on workers that share a store; use it as a context manager.

    A task that raises, hangs beyond its time, eats memory beyond its limit or
    takes its process down gives an :class:`Outcome` with an error; the others
    go on.
    """

    def __init__(self, store_root: Path) -> None:
        self.store_root = store_root

    def __enter__(self) -> Executor:
        return self

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Stop all workers; tasks still running are given up."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many tasks can run at once."""

    @abstractmethod
    def submit(self, job_id: str, task: Task) -> None:
        """Start a task; at most :attr:`slots` may be unfinished."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Outcome]:
        """Return what ended, after at most ``seconds``."""

    @abstractmethod
    def progress(self) -> dict[str, float]:
        """Return the fraction done of each running task, by job id."""


def over_time(seconds: float) -> str:
    """Say that a task was stopped at its time limit."""
    return f"ran longer than {seconds:g} s: raise limits.seconds or make it faster"


def over_memory(gib: float) -> str:
    """Say that a task was stopped at its memory limit."""
    return f"held more than {gib:g} GiB of memory: raise limits.memory_gib or make it smaller"

"""What life-cycle hooks are told: a run, its tasks, and the rows that became of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpbench.results import Result

__all__ = ["RunInfo", "TaskInfo"]


@dataclass(frozen=True)
class TaskInfo:
    """A task of a run.

    Attributes:
        id: names it within the run.
        title: for readers, such as ``"ae-grad-GAN on mnist: 12 trials"``.
        stage: what it makes: ``"public"``, ``"latents"``, ``"generator"``, ``"score"``, ...
        cost: rough seconds of work on one core.
    """

    id: str
    title: str
    stage: str
    cost: float


@dataclass(frozen=True)
class RunInfo:
    """A run that is about to begin.

    Attributes:
        directory: the runs directory; ``directory / "logs"`` holds what tasks print.
        tasks: what is to be done; the trials of one that fails may be tried again one by
            one, as tasks that are not listed here.
        results: the rows that were complete before; see ``dpbench.results.Result``.
    """

    directory: Path
    tasks: tuple[TaskInfo, ...]
    results: tuple[Result, ...]

"""How the tasks of one run go: counts, progress and reasons."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter

from dpbench.api.events import TaskInfo
from dpbench_tracker.names import tag

__all__ = ["TaskLog"]


class TaskLog:
    """Event files of one run, under ``folder / "tasks" / <time>``.

    ``tasks/finished``, ``tasks/failed`` and ``tasks/left`` count tasks; ``seconds/<stage>`` is
    how long each took, ``progress/<stage>/<title>`` how far it was, by per cent. Texts hold the
    plan, what began and why tasks failed.

    Attributes:
        folder: where everything of the runs directory lies.
    """

    def __init__(self, folder: Path, tasks: Sequence[TaskInfo]) -> None:
        self.folder = folder
        started = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        self._writer = SummaryWriter(str(folder / "tasks" / started))
        self._ended: Counter[str] = Counter()
        self._stages: Counter[str] = Counter()
        self._begun: dict[str, float] = {}
        self._known = {task.id for task in tasks}
        self._writer.add_text("plan", _table(tasks))
        self._count()

    def started(self, task: TaskInfo) -> None:
        """Note that ``task`` began; one that was not planned is part of one that failed."""
        self._known.add(task.id)
        self._begun[task.id] = time.monotonic()
        self._writer.add_text("started", task.title, len(self._begun))

    def progress(self, task: TaskInfo, fraction: float) -> None:
        """Draw how far ``task`` is."""
        name = tag(f"progress/{task.stage}/{task.title}")
        self._writer.add_scalar(name, fraction, round(100 * fraction))

    def finished(self, task: TaskInfo) -> None:
        """Count ``task``, and how long it took."""
        self._stages[task.stage] += 1
        seconds = time.monotonic() - self._begun.get(task.id, time.monotonic())
        self._writer.add_scalar(tag(f"seconds/{task.stage}"), seconds, self._stages[task.stage])
        self._ended["finished"] += 1
        self._count()

    def failed(self, task: TaskInfo, reason: str) -> None:
        """Count ``task``, and keep its reason."""
        self._ended["failed"] += 1
        self._writer.add_text("failed", f"{task.title}: {reason}", self._ended["failed"])
        self._count()

    def close(self) -> None:
        """Finish the files."""
        self._writer.close()

    def _count(self) -> None:
        """Write the counts down at once: a run that is killed leaves them readable."""
        ended = self._ended.total()
        for name in ("finished", "failed"):
            self._writer.add_scalar(f"tasks/{name}", self._ended[name], ended)
        self._writer.add_scalar("tasks/left", len(self._known) - ended, ended)
        self._writer.flush()


def _table(tasks: Sequence[TaskInfo]) -> str:
    """Return the plan in Markdown: how many tasks of which stage, and their rough cost."""
    counts: Counter[str] = Counter(task.stage for task in tasks)
    cost: Counter[str] = Counter()
    for task in tasks:
        cost[task.stage] += round(task.cost)
    lines = [f"| {stage} | {count} | {cost[stage]} |" for stage, count in counts.items()]
    return "\n".join(["| stage | tasks | core seconds, roughly |", "|---|---|---|", *lines])

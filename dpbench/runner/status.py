"""Where a run stands, kept beside its results for whoever looks from elsewhere."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from dpbench.results.reading import Unreadable, read_json
from dpbench.store import StoreNotWritable, write_json

if TYPE_CHECKING:
    from dpbench.runner.scheduler import Progress

__all__ = ["STATUS", "Pace", "Reporter", "Standing", "read_standing", "sizes"]

STATUS = "status.json"
#: Seconds between two reports, and after which a run that is silent has stopped.
EVERY, SILENT = 1.0, 60.0


class StageCount(BaseModel):
    """Artifacts of one stage: what a reader calls them, and in which ``place`` they come."""

    model_config = ConfigDict(frozen=True)

    title: str = ""
    place: int = 0
    total: int
    done: int
    failed: int
    running: int = 0

    @property
    def left(self) -> int:
        return self.total - self.done - self.failed


class Standing(BaseModel):
    """What a run says of itself.

    Attributes:
        started, updated: seconds since the epoch.
        stages: artifacts by stage.
        running: title and fraction done of each task at work.
        failures: a line for each task that failed, at most :data:`MOST`.
        seconds_left: an estimate; ``None`` at first.
        ended: the run came to its end, with failures or without, or was interrupted.
    """

    model_config = ConfigDict(frozen=True)

    command: str
    pid: int
    host: str
    started: float
    updated: float
    stages: dict[str, StageCount]
    running: list[tuple[str, float]] = []
    failures: list[str] = []
    seconds_left: float | None = None
    ended: bool = False

    @property
    def left(self) -> int:
        """How many artifacts are neither there nor lost."""
        return sum(count.left for count in self.stages.values())

    @property
    def silent(self) -> float | None:
        """For how long a run has said nothing that should have; ``None`` if it is well."""
        silence = max(time.time() - self.updated, 0.0)
        return silence if not self.ended and (silence > SILENT or self._killed) else None

    @property
    def _killed(self) -> bool:
        """Say whether the process is gone; of another host nothing is known."""
        return self.host == socket.gethostname() and not _lives(self.pid, self.started)


#: Failures that are kept.
MOST = 20


class Pace:
    """Lets through what is done again and again, for a twentieth of the time at most.

    To count a hundred thousand trials takes a while, and there are as many moments to do it.
    """

    def __init__(self, every: float) -> None:
        self._every, self._next = every, 0.0

    @property
    def due(self) -> bool:
        """Say whether so many seconds have passed since the last time."""
        return time.monotonic() >= self._next

    @contextlib.contextmanager
    def taking(self) -> Iterator[None]:
        """Measure what is done."""
        started = time.monotonic()
        yield
        ended = time.monotonic()
        self._next = ended + max(self._every, 19 * (ended - started))


class Reporter:
    """Writes where a run stands, at most once a second; what cannot be written costs nothing."""

    def __init__(self, runs: Path, command: str) -> None:
        self._path, self._command = runs / STATUS, command
        self._started, self._pace = time.time(), Pace(EVERY)

    def __call__(self, progress: Progress, ended: bool = False) -> None:
        """Write ``progress``, unless that was done a moment ago."""
        if not (self._pace.due or ended):
            return
        with self._pace.taking(), contextlib.suppress(StoreNotWritable):
            write_json(self._path, self._standing(progress, time.time(), ended).model_dump())

    def _standing(self, progress: Progress, now: float, ended: bool) -> Standing:
        from dpbench.stages import STAGES  # torch, which a run has and a reader needs not

        titles = {task.stage: task.plural for task in STAGES}
        at_work = [progress.jobs[job_id].task.stage for job_id in progress.running]
        found = progress.counts()
        counts = {
            stage: StageCount(
                title=titles.get(stage, stage),
                place=place,
                total=found[stage].total,
                done=found[stage].done,
                failed=found[stage].failed,
                running=at_work.count(stage),
            )
            for place, stage in enumerate(sorted(found, key=[*titles, *found].index))
        }
        failed = [f"{progress.jobs[j].title}: {reason}" for j, reason in progress.failed.items()]
        return Standing(
            command=self._command,
            pid=os.getpid(),
            host=socket.gethostname(),
            started=self._started,
            updated=now,
            stages=counts,
            running=[(progress.jobs[j].title, part) for j, part in progress.running.items()],
            failures=failed[:MOST],
            seconds_left=None if ended else progress.seconds_left(),
            ended=ended,
        )


def _lives(pid: int, since: float) -> bool:
    """Say whether a process of this host that ran at ``since`` is still there."""
    try:
        os.kill(pid, 0)
    except PermissionError:  # it is another user's
        pass
    except (OSError, OverflowError):
        return False
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        age = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:  # no Linux: the number has to do
        return True
    begun = time.time() - age + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    # A later process may have got the number; the clock may have been set by a little.
    return fields[0] != "Z" and begun < since + SILENT


def read_standing(runs: Path) -> Standing | None:
    """Return what the last run under ``runs`` said; ``None`` where there was none."""
    try:
        return Standing.model_validate(read_json(runs / STATUS))
    except (Unreadable, ValidationError):
        return None


def sizes(runs: Path) -> Iterator[tuple[str, int, int]]:
    """Yield stage, number and bytes of the artifacts in a store, largest first."""
    root = runs / "artifacts"
    stages = [p for p in root.iterdir() if p.is_dir() and p.name != "tmp"] if root.exists() else []
    found = [(stage.name, *_size(stage)) for stage in stages]
    yield from sorted(found, key=lambda row: -row[2])


def _size(stage: Path) -> tuple[int, int]:
    """Count artifacts and bytes; what is removed meanwhile is nothing."""
    count, total = 0, 0
    for directory, _, names in os.walk(stage):
        count += "meta.json" in names
        for name in names:
            try:
                total += os.stat(os.path.join(directory, name)).st_size  # noqa: PTH116, PTH118
            except OSError:
                continue
    return count, total

"""What an executor promises: it runs tasks, and what goes wrong stays that task's own."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import psutil
import torch
from torch import Tensor

from dpbench.api import Context, Executor, Outcome, Workplace
from dpbench.errors import DpbenchError
from dpbench.stages import Task
from dpbench.store import Artifact, ArtifactId, Store
from dpbench.testing.checks import Figures, NotRun, checking, refusable, require
from dpbench.testing.subject import Subject

__all__ = ["ExecutorSubject", "SmallTask"]

PATIENCE = 120.0
"""Seconds that a small task may take, the start of its worker included."""
LIMIT = 2.0
END = 10.0
"""Seconds that workers have to end once the executor is left: one that was told has to notice."""

Fault = Literal["none", "partly", "raises", "refuses", "exits", "dies", "hangs"]


@dataclass(frozen=True)
class SmallTask(Task):
    """Writes one artifact, or goes wrong in one way."""

    key: str
    fault: Fault = "none"
    seed: int = 0
    stage: ClassVar[str] = "kit"
    plural: ClassVar[str] = "kit's tasks"

    def reads(self) -> Sequence[ArtifactId]:
        return []

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        print(f"task {self.key} says hello")
        if self.fault == "raises":
            raise RuntimeError("the kit's task broke")
        if self.fault == "refuses":
            raise DpbenchError("the kit's task refuses")
        if self.fault == "exits":
            raise SystemExit(0)
        if self.fault == "dies":
            os._exit(7)
        if self.fault == "hangs":
            time.sleep(3600)
        if self.fault == "partly":
            return {self.key: "the kit's artifact failed by itself"}
        context.progress(1, 2)
        store.save(self.stage, self.key, Artifact({"pid": os.getpid()}, {"one": torch.ones(1)}))
        return {}


@dataclass(frozen=True)
class Running:
    """An executor that has been entered."""

    executor: Executor
    place: Workplace

    def outcomes(self, *tasks: SmallTask) -> dict[str, Outcome]:
        """Run ``tasks``, no more at once than there are slots, and return how each ended."""
        found: dict[str, Outcome] = {}
        waiting, started = list(tasks), 0
        deadline = time.monotonic() + PATIENCE * len(tasks)
        while len(found) < len(tasks):
            while waiting and started - len(found) < self.executor.slots:
                task = waiting.pop(0)
                with refusable():
                    self.executor.submit(task.key, task)
                started += 1
            with refusable():
                ended = self.executor.wait(0.5)
            for outcome in ended:
                require(outcome.job_id not in found, f"{outcome.job_id} ends twice")
                found[outcome.job_id] = outcome
            _require_fractions(self.executor.progress())
            require(time.monotonic() < deadline, f"{started - len(found)} tasks do not end")
        return found

    def artifact(self, key: str) -> Artifact:
        """Read what the task ``key`` wrote."""
        return Store(self.place.store_root).load(SmallTask.stage, key)

    def require_processes(self) -> None:
        """Leave checks of a process's end to executors that have processes of their own."""
        self.outcomes(SmallTask("where"))
        if self.artifact("where").meta["pid"] == os.getpid():
            raise NotRun("its tasks run in this process")


class ExecutorSubject(Subject):
    """An executor in a scratch directory."""

    base = Executor

    @contextlib.contextmanager
    def place(self, seconds: float | None = None) -> Iterator[Workplace]:
        """Lend a place on the CPU."""
        with tempfile.TemporaryDirectory() as scratch:
            yield Workplace(Path(scratch, "store"), Path(scratch, "logs"), "cpu", seconds)

    @contextlib.contextmanager
    def running(self, seconds: float | None = None) -> Iterator[Running]:
        """Enter an executor in a place of its own."""
        with self.place(seconds) as place, contextlib.ExitStack() as stack:
            with refusable():  # it may need a cluster, say, that is not here
                executor = stack.enter_context(self.cls(self.params, place))
            yield Running(executor, place)

    def work(self, context: Context) -> dict[str, Tensor]:
        with self.running() as running:
            running.outcomes(SmallTask("usual"))
            return dict(running.artifact("usual").tensors)

    def lent(self) -> dict[str, Tensor]:
        return {}


def _require_fractions(progress: dict[str, float]) -> None:
    wrong = {job: part for job, part in progress.items() if not 0 <= part <= 1}
    require(not wrong, f"the progress of running tasks is {wrong}, not in [0, 1]")


@checking("executor")
def starts_nothing_by_itself(subject: ExecutorSubject) -> None:
    """``__init__`` starts no process: it may still refuse."""
    before = _descendants()
    with subject.place() as place:
        executor = subject.cls(subject.params, place)
        started = _descendants() - before
        with contextlib.ExitStack() as stack:
            with refusable():
                stack.enter_context(executor)
            slots = executor.slots
    require(not started, f"making one starts {len(started)} processes")
    require(isinstance(slots, int) and slots >= 1, f"it has {slots!r} slots")


def _descendants() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


@checking("executor")
def runs_tasks_and_says_how_each_ended(subject: ExecutorSubject) -> Figures:
    """Artifacts appear in the store, what tasks print in a log, errors in their outcomes."""
    faults: tuple[Fault, ...] = ("none", "partly", "raises", "refuses", "exits", "none")
    tasks = [SmallTask(f"{turn}-{fault}", fault) for turn, fault in enumerate(faults)]
    started = time.perf_counter()
    with subject.running() as running:
        found = running.outcomes(*tasks)
        for task in tasks:
            _require_outcome(task, found[task.key], running.place)
        logs = [p.read_text() for p in running.place.logs.rglob("*") if p.is_file()]
    hello = "\n".join(logs)
    missing = [task.key for task in tasks if f"task {task.key} says hello" not in hello]
    require(not missing, f"what {', '.join(missing)} printed is in no log")
    return {"seconds for six tasks": time.perf_counter() - started}


def _require_outcome(task: SmallTask, outcome: Outcome, place: Workplace) -> None:
    wanted = {"raises": "the kit's task broke", "refuses": "the kit's task refuses",
              "exits": "SystemExit"}  # fmt: skip
    error = outcome.error or ""
    if task.fault in wanted:
        require(wanted[task.fault] in error, f"a task that {task.fault} ends with {error!r}")
        require("\n" not in error, "an error has more lines than one")
        return
    require(not error, f"a sound task ends with {error!r}")
    partly = {task.key: "the kit's artifact failed by itself"} if task.fault == "partly" else {}
    require(outcome.failures == partly, f"failures of one artifact are {outcome.failures}")
    if task.fault == "none":
        require(Store(place.store_root).check("kit", task.key), "its artifact is not in the store")


@checking("executor")
def survives_a_task_that_ends_its_process(subject: ExecutorSubject) -> None:
    """A task that takes its process down fails with a reason; the next one runs."""
    with subject.running() as running:
        running.require_processes()
        found = running.outcomes(SmallTask("dies", "dies"), SmallTask("after"))
    require(bool(found["dies"].error), "a task that ended its process has no error")
    require(not found["after"].error, f"the task after it fails: {found['after'].error}")


@checking("executor")
def stops_a_task_that_hangs(subject: ExecutorSubject) -> None:
    """A task that runs longer than the limit is stopped, and named; others go on."""
    with subject.running(LIMIT) as running:
        running.require_processes()
        found = running.outcomes(SmallTask("hangs", "hangs"), SmallTask("after"))
    require(bool(found["hangs"].error), "a task that hangs has no error")
    require(not found["after"].error, f"the task after it fails: {found['after'].error}")


@checking("executor")
def leaves_no_process_behind(subject: ExecutorSubject) -> None:
    """Leaving it ends its workers, also while a task still runs."""
    before = _workers()
    with subject.running() as running:
        running.require_processes()
        running.executor.submit("hangs", SmallTask("hangs", "hangs"))
        running.executor.wait(1.0)
    deadline = time.monotonic() + END
    while (left := _workers() - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    require(not left, f"{len(left)} processes are left")


def _workers() -> set[int]:
    """Return the processes below this one, without those that Python keeps for itself."""
    return {pid for pid in _descendants() if "resource_tracker" not in _command(pid)}


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return "resource_tracker"  # gone by now

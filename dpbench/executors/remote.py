"""The general half of an executor on other machines: what every worker checks, what a death means.

An executor for a scheduler (Ray, a batch system) is a :class:`RemoteExecutor` that
can launch an :class:`Order` somewhere, say which have ended, and stop one. Workers
call :func:`carry_out`. Results travel through the store, which all machines share;
a small file beside it tells how far a task is.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import threading
import time
import uuid
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from dpbench import __version__
from dpbench.api import Executor, Outcome, Workplace
from dpbench.errors import DpbenchError, one_line
from dpbench.executors.limits import held_gib, memory_limit, over_memory, over_time
from dpbench.executors.worker import Ended, execute
from dpbench.planning.code_version import code_version, package_digest
from dpbench.plugins import registry
from dpbench.stages import Task

__all__ = [
    "NodeDied",
    "NodeUnfit",
    "Order",
    "ProcessDied",
    "RemoteExecutor",
    "carry_out",
    "do",
    "installed_code",
    "unfit",
]

#: How often a task is started again. A node's death is rarely the task's doing; a process's is.
NODE_DEATHS = 3
PROCESS_DEATHS = 1
LOOK_EVERY = 1.0
#: Beside the logs of tasks: which machines were avoided, and why.
NOTES = "nodes.txt"


class NodeDied(Exception):
    """The machine of a task is gone."""


class NodeUnfit(Exception):
    """A machine that must not run tasks: it lacks the store, or has other code; says why."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(reason)
        self.node = node


class ProcessDied(Exception):
    """The process of a task is gone, its machine is not; the message is the reason, if known."""


@dataclass(frozen=True)
class Order:
    """All that a worker anywhere needs to do a task; can be pickled.

    Attributes:
        place: store, logs, device and limits, as paths that all machines share.
        report: file below the store in which the worker says how far it is.
        codes: the code that must be installed where the task runs.
    """

    job_id: str
    task: Task
    place: Workplace
    device: str
    report: Path
    codes: dict[str, str] = field(default_factory=dict)


@dataclass
class _Running:
    order: Order
    handle: Any = None
    started: float | None = None
    fraction: float = 0.0
    over_time: bool = False
    node_deaths: int = 0
    process_deaths: int = 0
    submitted: float = field(default_factory=time.monotonic)


class RemoteExecutor(Executor):
    """Hands orders to a scheduler; starts again what died with its machine.

    Subclasses set ``device`` on entering and implement :attr:`slots`, :meth:`launch`,
    :meth:`finished`, :meth:`result` and :meth:`stop`.
    """

    device: str

    def __init__(self, params: Any, place: Workplace) -> None:
        absolute = replace(
            place, store_root=place.store_root.absolute(), logs=place.logs.absolute()
        )
        super().__init__(params, absolute)
        # A fresh name below the store: a machine that sees it sees this store, not a namesake.
        self._reports = absolute.store_root / "tmp" / f"remote-{uuid.uuid4().hex}"
        self._running: dict[str, _Running] = {}
        self._codes: dict[str, str] = {}
        self._looked = 0.0
        self._unfit: set[str] = set()

    @abstractmethod
    def launch(self, order: Order) -> Any:
        """Have :func:`carry_out` called with ``order`` somewhere; return a hashable handle."""

    @abstractmethod
    def finished(self, handles: Sequence[Any], seconds: float) -> set[Any]:
        """Return those of ``handles`` that ended, after at most ``seconds``."""

    @abstractmethod
    def result(self, handle: Any) -> Ended:
        """Return what :func:`carry_out` returned.

        Raises:
            NodeDied: its machine did.
            NodeUnfit: its machine must not run tasks; only where :meth:`avoid` can help.
            ProcessDied: its process did.
            DpbenchError: it could not be run.
        """

    @abstractmethod
    def stop(self, handle: Any) -> None:
        """End a task at once; it counts as finished afterwards."""

    def avoid(self, node: str) -> bool:
        """Keep further tasks away from a machine; ``False`` if none is left that may do them."""
        return False

    def __enter__(self) -> Self:
        self._codes = installed_code()
        return self

    def submit(self, job_id: str, task: Task) -> None:
        order = Order(job_id, task, self.place, self.device, Path(), self._codes)
        self._running[job_id] = running = _Running(order)
        self._launch(running)

    def _launch(self, running: _Running) -> None:
        self._reports.mkdir(parents=True, exist_ok=True)
        report = self._reports / uuid.uuid4().hex
        running.order = Order(**{**vars(running.order), "report": report})
        running.started, running.fraction = None, 0.0
        running.handle = self.launch(running.order)

    def wait(self, seconds: float) -> list[Outcome]:
        if not self._running:
            return []
        done = self.finished([running.handle for running in self._running.values()], seconds)
        self._look()
        ended: list[Outcome] = []
        for job_id, running in list(self._running.items()):
            if running.handle not in done:
                continue
            result = self._result(running)
            if result is None:
                self._launch(running)
                continue
            running.order.report.unlink(missing_ok=True)
            del self._running[job_id]
            ended.append(Outcome(job_id, *result, time.monotonic() - running.submitted))
        return ended

    def _look(self) -> None:
        """Read the running tasks' reports, now and then, and stop those that are overdue.

        A task's time counts from its first report: it may have queued for a machine.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        for running in self._running.values():
            with contextlib.suppress(OSError, ValueError):
                running.fraction = float(running.order.report.read_text())
                running.started = running.started or now
            limit = self.place.seconds
            if running.over_time or running.started is None or limit is None:
                continue
            if now - running.started > limit:
                running.over_time = True
                self.stop(running.handle)

    def _result(self, running: _Running) -> Ended | None:
        """Return how a task ended, or ``None`` if it is to be started again."""
        try:
            return self.result(running.handle)
        except DpbenchError as error:
            reason: str | None = str(error)
        except NodeUnfit as problem:
            reason = None if self._avoid(problem) else str(problem)
        except (NodeDied, ProcessDied) as death:
            reason = self._death(running, death)
        return None if reason is None else ({}, reason)

    def _avoid(self, problem: NodeUnfit) -> bool:
        """Keep tasks off a machine from now on; note why beside what tasks print."""
        if problem.node not in self._unfit:
            self._unfit.add(problem.node)
            with contextlib.suppress(OSError):
                self.place.logs.mkdir(parents=True, exist_ok=True)
                with (self.place.logs / NOTES).open("a") as notes:
                    notes.write(f"avoided: {problem}\n")
        return self.avoid(problem.node)

    def _death(self, running: _Running, death: NodeDied | ProcessDied) -> str | None:
        """Say why a task died; ``None`` if that does not speak against starting it again."""
        of_node = isinstance(death, NodeDied)
        if running.over_time:
            return over_time(self.place.seconds or 0.0)
        with contextlib.suppress(OSError, ValueError):
            return over_memory(float(_greedy(running.order.report).read_text()))
        if _spoilt(running.order.report).exists():  # an earlier task's doing
            return None
        running.node_deaths += of_node
        running.process_deaths += not of_node
        if running.node_deaths > NODE_DEATHS:
            return f"{running.node_deaths} nodes died while they ran it: does it fill their memory?"
        if running.process_deaths > PROCESS_DEATHS:
            return str(death) or "its process died twice: killed, or out of memory?"
        return None

    def progress(self) -> dict[str, float]:
        return {job_id: running.fraction for job_id, running in self._running.items()}

    def __exit__(self, *exception: object) -> None:
        for running in self._running.values():
            if running.handle is not None:  # else it could not be launched
                self.stop(running.handle)
        self._running.clear()
        shutil.rmtree(self._reports, ignore_errors=True)


#: What tasks changed of this process and could not be put back: it must not do another.
_lasting: list[str] = []


def installed_code() -> dict[str, str]:
    """Name the code that makes artifacts: all of dpbench, and each plugin's."""
    plugins = {f"{entry.cls.kind} {entry.cls.name}": code_version(entry) for entry in registry()}
    return {"dpbench": f"{__version__}/{package_digest()}", **plugins}


def carry_out(order: Order) -> Ended:
    """Do an order in this process, if this machine is fit for it."""
    problem = unfit(order)
    return ({}, problem) if problem else do(order)


def do(order: Order) -> Ended:
    """Do an order in this process.

    A process that holds more memory than its limit ends, whatever a scheduler promises.
    So does one that is given another task after one that changed it for good.
    """
    if _lasting:
        _spoilt(order.report).write_text(f"{', '.join(_lasting)}\n")
        os._exit(1)
    threads = threading.active_count()
    done = threading.Event()
    gib = memory_limit(order.place.memory_gib)
    guard = threading.Thread(target=_end_if_greedy, args=(order.report, gib, done), daemon=True)
    guard.start()
    try:
        return execute(
            order.job_id,
            order.task,
            order.place,
            order.device,
            lambda fraction: _write_report(order.report, fraction),
            _lasting.extend,
        )
    finally:
        done.set()
        guard.join()
        if threading.active_count() > threads:
            _lasting.append("threads")


def unfit(order: Order) -> str | None:
    """Say why this machine must not run tasks: other files, or other code than the keys name."""
    node = platform.node()
    if not order.report.parent.is_dir():
        return (
            f"node {node} does not see {order.place.store_root}: name a directory with --runs "
            "that all nodes share at the same path"
        )
    try:
        here = installed_code()
    except Exception as error:
        return f"node {node} cannot load its plugins: {type(error).__name__}: {one_line(error)}"
    # A plugin that is missing here is reported by the task that needs it.
    known = order.codes.keys() & here.keys()
    other = sorted(name for name in known if order.codes[name] != here[name])
    if other:
        return (
            f"node {node} has other code of {', '.join(other)}: install the same dpbench and "
            "plugins on every node"
        )
    return None


def _write_report(path: Path, fraction: float) -> None:
    """Say how far a task is: a plain file outlives a killed worker and takes no lock."""
    with contextlib.suppress(OSError):
        path.write_text(f"{fraction:.4f}\n")


def _greedy(report: Path) -> Path:
    return report.with_suffix(".greedy")


def _spoilt(report: Path) -> Path:
    return report.with_suffix(".spoilt")


def _end_if_greedy(report: Path, gib: float, done: threading.Event) -> None:
    while not done.wait(0.5):
        if held_gib(os.getpid()) > gib:
            _greedy(report).write_text(f"{gib}")
            os._exit(1)

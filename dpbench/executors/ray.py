"""Tasks on a Ray cluster, whose nodes share the store's directory.

A task asks for one CPU, and on CUDA for a share of a GPU, so Ray never runs more
tasks on a node than fit. Results travel through the store alone: what Ray moves
is the description of a task and its one-line error.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import shutil
import socket
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from dpbench import __version__
from dpbench.errors import DpbenchError
from dpbench.executors.base import Executor, Outcome, over_memory, over_time
from dpbench.executors.local import default_workers
from dpbench.executors.worker import execute, read_report
from dpbench.planning.code_version import code_version, package_digest
from dpbench.plugins import registry
from dpbench.stages import Task

__all__ = ["RayExecutor", "RayUnavailable", "require_ray"]

#: How often a task is started again. A node's death is rarely the task's doing; a process's is.
NODE_DEATHS = 3
PROCESS_DEATHS = 1
LOOK_EVERY = 1.0


class RayUnavailable(DpbenchError):
    """Ray's package is missing; names the extra that brings it."""

    def __init__(self) -> None:
        super().__init__("--executor ray needs the package ray: pip install 'dpbench[ray]'")


def require_ray() -> None:
    """Raise :class:`RayUnavailable` unless Ray is installed."""
    try:
        import ray  # noqa: F401
    except ImportError as missing:
        raise RayUnavailable from missing


@dataclass
class _Running:
    task: Task
    submitted: float
    ref: Any = None
    report: Path = Path()
    started: float | None = None
    fraction: float = 0.0
    over_time: bool = False
    node_deaths: int = 0
    process_deaths: int = 0


class RayExecutor(Executor):
    """Ray workers, wherever Ray puts them; joins the cluster when it is entered.

    A task whose node died is started again, up to three times; one whose process
    died, once. Nodes may join and leave during a run.

    Args:
        store_root: directory of artifacts, at the same path on all nodes.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"`` for CUDA if the cluster has a GPU.
        workers: how many tasks run at once; by default as many as there are CPUs,
            or GPUs. More than there are GPUs share them.
        seconds: a task that runs longer is stopped.
        memory_gib: a task whose process holds more is stopped; by default 80% of
            its node's memory.
        address: ``"auto"``, ``"host:port"``, or ``"local"`` for a Ray on this machine
            that ends with the run; by default ``$RAY_ADDRESS``, else ``"local"``.

    Raises:
        RayUnavailable: Ray is not installed.
        DpbenchError: on entering: no cluster answers, or it lacks the device.
    """

    def __init__(
        self,
        store_root: Path,
        device: str = "auto",
        workers: int | None = None,
        seconds: float | None = None,
        memory_gib: float | None = None,
        address: str | None = None,
    ) -> None:
        require_ray()
        super().__init__(store_root.absolute())
        self.device, self.seconds, self.memory_gib = device, seconds, memory_gib
        self.address = address or os.environ.get("RAY_ADDRESS") or "local"
        self._workers = workers
        # A fresh name below the store: a node that sees it sees this store, not a namesake.
        self._reports = self.store_root / "tmp" / f"ray-{uuid.uuid4().hex}"
        self._names = itertools.count()
        self._running: dict[str, _Running] = {}
        self._looked = 0.0
        self._connected = False
        self._tasks_per_gpu = 0
        self._codes: dict[str, str] = {}
        self._remote: Any = None

    def __enter__(self) -> RayExecutor:
        import ray

        if not ray.is_initialized():
            self._connected = True
            _connect(self.address, self._workers)
        try:
            self._choose_device(ray.cluster_resources())
        except DpbenchError:
            self.__exit__()
            raise
        share = 1 / self._tasks_per_gpu if self._tasks_per_gpu else 0
        # Ray's own retries do not tell a node's death from a process's.
        self._remote = ray.remote(_run).options(num_cpus=1, num_gpus=share, max_retries=0)
        self._codes = _codes()
        return self

    def _choose_device(self, resources: dict[str, float]) -> None:
        gpus = int(resources.get("GPU", 0))
        if self.device == "auto":
            self.device = "cuda" if gpus else "cpu"
        if self.device == "cuda":
            if not gpus:
                raise DpbenchError("the Ray cluster has no GPU: add a node that has, or use cpu")
            self._tasks_per_gpu = -(-(self._workers or gpus) // gpus)
        elif self.device != "cpu":
            raise DpbenchError(
                f"device {self.device!r} cannot be chosen with --executor ray, which hands out "
                "GPUs itself: try --device cuda"
            )

    @property
    def slots(self) -> int:
        import ray

        resources = ray.cluster_resources()
        fit = int(resources.get("CPU", 0))
        if self._tasks_per_gpu:
            fit = min(fit, int(resources.get("GPU", 0)) * self._tasks_per_gpu)
        # Nodes may just have left: what ran on them still counts, and waits for others.
        return max(1, min(fit, self._workers or fit), len(self._running))

    def submit(self, job_id: str, task: Task) -> None:
        self._running[job_id] = running = _Running(task, time.monotonic())
        self._start(running)

    def _start(self, running: _Running) -> None:
        self._reports.mkdir(parents=True, exist_ok=True)
        running.report = self._reports / str(next(self._names))
        running.started, running.fraction = None, 0.0
        running.ref = self._remote.remote(
            running.task,
            self.store_root,
            self.device,
            running.report,
            self.memory_gib,
            self._codes,
        )

    def wait(self, seconds: float) -> list[Outcome]:
        import ray

        if not self._running:
            return []
        refs = [running.ref for running in self._running.values()]
        ray.wait(refs, timeout=seconds)
        done = set(ray.wait(refs, num_returns=len(refs), timeout=0)[0])
        self._look()
        ended: list[Outcome] = []
        for job_id, running in list(self._running.items()):
            if running.ref in done:
                outcome = self._outcome(job_id, running)
                if outcome is None:
                    self._start(running)
                else:
                    running.report.unlink(missing_ok=True)
                    del self._running[job_id]
                    ended.append(outcome)
        return ended

    def _look(self) -> None:
        """Read the running tasks' reports, now and then, and stop those that are overdue.

        A task's time counts from its first report: it may have queued for a node.
        """
        import ray

        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        for running in self._running.values():
            pid, running.fraction = read_report(running.report)
            if running.started is None and pid is not None:
                running.started = now
            if running.over_time or running.started is None or self.seconds is None:
                continue
            if now - running.started > self.seconds:
                running.over_time = True
                ray.cancel(running.ref, force=True)

    def _outcome(self, job_id: str, running: _Running) -> Outcome | None:
        """Return how a task ended, or ``None`` if it is to be started again."""
        import ray

        failures: dict[str, str] = {}
        error: str | None
        try:
            failures, error = ray.get(running.ref)
        except ray.exceptions.RayError as problem:
            error = self._reason(running, problem)
            if error is None:
                return None
        return Outcome(job_id, failures, error, time.monotonic() - running.submitted)

    def _reason(self, running: _Running, problem: Exception) -> str | None:
        from ray import exceptions

        if running.over_time:
            return over_time(self.seconds or 0.0)
        with contextlib.suppress(OSError, ValueError):
            return over_memory(float(_greedy(running.report).read_text()))
        if isinstance(problem, exceptions.NodeDiedError):
            running.node_deaths += 1
            if running.node_deaths <= NODE_DEATHS:
                return None
            return f"{running.node_deaths} nodes died while they ran it: does it fill their memory?"
        if isinstance(problem, exceptions.WorkerCrashedError | exceptions.OutOfMemoryError):
            running.process_deaths += 1
            if running.process_deaths <= PROCESS_DEATHS:
                return None
            return "its process died twice: killed, or out of memory?"
        cause = getattr(problem, "cause", None) or problem
        line = (str(cause).splitlines() or [""])[0]
        return (
            f"Ray could not run it ({type(cause).__name__}: {line}): install the same dpbench "
            "and plugins on every node"
        )

    def progress(self) -> dict[str, float]:
        return {job_id: running.fraction for job_id, running in self._running.items()}

    def __exit__(self, *exception: object) -> None:
        import ray

        for running in self._running.values():
            with contextlib.suppress(ray.exceptions.RayError):
                ray.cancel(running.ref, force=True)
        self._running.clear()
        if self._connected:
            self._connected = False
            ray.shutdown()
        shutil.rmtree(self._reports, ignore_errors=True)


def _connect(address: str, workers: int | None) -> None:
    """Join a cluster, or start a Ray on this machine that ends with this process."""
    import ray

    own: dict[str, Any] = {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        # Nothing is kept in Ray's object store; by default it takes 30% of the memory.
        own = {
            "num_cpus": workers or default_workers("cpu"),
            "include_dashboard": False,
            "object_store_memory": 2**27,
        }
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise DpbenchError(
            f"no Ray cluster can be joined at {address!r} ({reason}): start one with "
            "`ray start --head`, or leave --ray-address out"
        ) from error


def _knock(address: str) -> None:
    """Raise unless ``host:port`` answers: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if "//" in host:
        raise ValueError("this is Ray Client's form; name the head node as host:port")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _codes() -> dict[str, str]:
    """Name the code that makes artifacts: all of dpbench, and each plugin's."""
    plugins = {f"{entry.cls.kind} {entry.cls.name}": code_version(entry) for entry in registry()}
    return {"dpbench": f"{__version__}/{package_digest()}", **plugins}


def _run(
    task: Task,
    root: Path,
    device: str,
    report: Path,
    memory_gib: float | None,
    codes: dict[str, str],
) -> tuple[dict[str, str], str | None]:
    """Run a task in a Ray worker; see :func:`dpbench.executors.worker.execute`."""
    torch.set_num_threads(1)  # the one CPU asked for
    problem = _unfit(root, report, codes)
    if problem:
        return {}, problem
    gib = memory_gib or 0.8 * psutil.virtual_memory().total / 2**30
    done = threading.Event()
    threading.Thread(target=_end_if_greedy, args=(report, gib, done), daemon=True).start()
    try:
        return execute(task, root, device, report)
    finally:
        done.set()


def _unfit(root: Path, report: Path, codes: dict[str, str]) -> str | None:
    """Say why this node must not run tasks: other files, or other code than the keys name."""
    node = platform.node()
    if not report.parent.is_dir():
        return (
            f"node {node} does not see {root}: name a directory with --runs that all nodes share "
            "at the same path"
        )
    here = _codes()
    # A plugin that is missing here is reported by the task that needs it.
    other = sorted(name for name in codes.keys() & here.keys() if codes[name] != here[name])
    if other:
        return (
            f"node {node} has other code of {', '.join(other)}: install the same dpbench and "
            "plugins on every node"
        )
    return None


def _greedy(report: Path) -> Path:
    return report.with_suffix(".greedy")


def _end_if_greedy(report: Path, gib: float, done: threading.Event) -> None:
    """Leave if this process holds too much: Ray's memory resource is a promise, not a limit."""
    process = psutil.Process()
    while not done.wait(0.5):
        if process.memory_info().rss > gib * 2**30:
            _greedy(report).write_text(f"{gib}")
            os._exit(1)

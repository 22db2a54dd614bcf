"""Worker processes on this machine, each killable with all that it started."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

import psutil
from pydantic import Field

from dpbench.api import Executor, Outcome, Params, Workplace
from dpbench.errors import told
from dpbench.executors.device import choose_device
from dpbench.executors.limits import (
    held_gib,
    memory_limit,
    over_memory,
    over_time,
    too_many_threads,
)
from dpbench.executors.log import drop_empty, log_path
from dpbench.executors.worker import Ended, execute
from dpbench.stages import Task

__all__ = ["LocalExecutor", "LocalParams", "default_workers"]

#: How often a task is started again whose worker a signal ended, or did not live to start it.
KILLS = 1
FALSE_STARTS = 3
LOOK_EVERY = 1.0
PR_SET_CHILD_SUBREAPER = 36
#: What the libraries below numpy and torch read once, when a process starts.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
COMPILED = ": did compiled code of a plugin or library fail?"
#: What a signal usually tells; others come from whoever sent them.
GUESSES: dict[int, str] = {
    signal.SIGKILL: ": out of memory?",
    signal.SIGSEGV: COMPILED,
    signal.SIGBUS: COMPILED,
    signal.SIGFPE: COMPILED,
    signal.SIGILL: COMPILED,
    signal.SIGABRT: COMPILED,
}


def default_workers(device: str, threads: int = 1) -> int:
    """As many as cores have ``threads``, at most 8; one for a GPU, which a batch of lanes fills."""
    cores = len(os.sched_getaffinity(0))
    return 1 if device != "cpu" else max(1, min(8, cores // threads))


class LocalParams(Params):
    """``[executors.local]``."""

    workers: int | None = Field(default=None, ge=1, description="default: one a core, or a GPU")


class _Worker:
    """A spawned process that leads a process group, and the pipe to it."""

    def __init__(self, place: Workplace, device: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, place, device), name="dpbench-worker"
        )
        with _environment(dict.fromkeys(THREADS, str(place.threads))), _no_main_module():
            self.process.start()
        theirs.close()

    def end(self) -> None:
        """Kill the process and whatever it started."""
        pid = self.process.pid or 0
        descendants: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            descendants = psutil.Process(pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        _kill(descendants)
        self.process.kill()
        self.process.join()
        self.pipe.close()


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep a new process from running the user's script again: it needs nothing of it.

    A spawned process imports the main module first. A script that calls ``dpbench.run``
    without a guard would so start runs without end.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@dataclass
class _Running:
    task: Task
    worker: _Worker
    started: float | None = None
    fraction: float = 0.0
    kills: int = 0
    false_starts: int = 0
    submitted: float = field(default_factory=time.monotonic)


class LocalExecutor(Executor):
    """A few spawned processes; each serves one task after the other.

    A task's time counts from when a worker took it up, its memory is that of the
    worker and its descendants. A worker that dies is noticed at once; if a signal
    killed it, its task is started once more.
    """

    name = "local"
    Params = LocalParams
    params: LocalParams

    def __init__(self, params: LocalParams, place: Workplace) -> None:
        super().__init__(params, place)
        self.device = choose_device(place.device)
        self.memory_gib = memory_limit(place.memory_gib)
        self._idle: list[_Worker] = []
        self._running: dict[str, _Running] = {}
        self._looked = 0.0

    @property
    def slots(self) -> int:
        return self.params.workers or default_workers(self.device, self.place.threads)

    def submit(self, job_id: str, task: Task) -> None:
        self._running[job_id] = running = _Running(task, self._worker())
        self._send(job_id, running)

    def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.process.is_alive():
                return worker
            worker.end()
        return _Worker(self.place, self.device)

    def _send(self, job_id: str, running: _Running) -> None:
        running.started, running.fraction = None, 0.0
        with contextlib.suppress(OSError):  # it is dead: seen at the next look
            running.worker.pipe.send((job_id, running.task))

    def wait(self, seconds: float) -> list[Outcome]:
        workers = [running.worker for running in self._running.values()]
        wait([part for w in workers for part in (w.pipe, w.process.sentinel)], seconds)
        greedy = self._greedy()
        ended: list[Outcome] = []
        for job_id, running in list(self._running.items()):
            outcome = self._look(job_id, running, job_id in greedy)
            if outcome is not None:
                del self._running[job_id]
                ended.append(outcome)
        return ended

    def _greedy(self) -> set[str]:
        """Return the tasks that hold too much memory; looks once a second."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY:
            return set()
        self._looked = now
        return {
            job_id
            for job_id, running in self._running.items()
            if held_gib(running.worker.process.pid or 0) > self.memory_gib
        }

    def _look(self, job_id: str, running: _Running, greedy: bool) -> Outcome | None:
        """Return how a task ended, or ``None`` while it runs."""
        alive = running.worker.process.is_alive()  # before its last words are read
        ended = _hear(running)
        if ended is not None:
            self._idle.append(running.worker)
            return self._outcome(job_id, running, *ended)
        if not alive:
            return self._died(job_id, running)
        if greedy:
            return self._stop(job_id, running, over_memory(self.memory_gib))
        limit, now = self.place.seconds, time.monotonic()
        if limit is not None and running.started is not None and now - running.started > limit:
            return self._stop(job_id, running, over_time(limit))
        return None

    def _outcome(
        self, job_id: str, running: _Running, failures: dict[str, str], error: str | None
    ) -> Outcome:
        return Outcome(job_id, failures, error, time.monotonic() - running.submitted)

    def _stop(self, job_id: str, running: _Running, reason: str) -> Outcome:
        running.worker.end()
        return self._outcome(job_id, running, {}, reason)

    def _died(self, job_id: str, running: _Running) -> Outcome | None:
        """Start a task again, or say why its worker died."""
        code = running.worker.process.exitcode or 0
        took_it_up = running.started is not None
        running.kills += took_it_up and code < 0
        running.false_starts += not took_it_up
        running.worker.end()
        guess = GUESSES.get(-code, "")
        if took_it_up and code >= 0:
            reason = f"it ended its own process (exit code {code}): plugins must return or raise"
        elif running.kills > KILLS:
            reason = f"its process was killed twice ({_cause(code)}){guess}"
        elif running.false_starts > FALSE_STARTS:
            guess = too_many_threads(self.place.threads) or guess
            reason = f"no worker process lived to start it ({_cause(code)}){guess}"
        else:
            running.worker = self._worker()
            self._send(job_id, running)
            return None
        return self._outcome(job_id, running, {}, reason + self._last_words(job_id))

    def _last_words(self, job_id: str) -> str:
        log = log_path(self.place.logs, job_id)
        if drop_empty(log):
            return ""
        return f" (what it printed is in {log})"

    def progress(self) -> dict[str, float]:
        return {job_id: running.fraction for job_id, running in self._running.items()}

    def __exit__(self, *exception: object) -> None:
        for worker in (*self._idle, *(running.worker for running in self._running.values())):
            worker.end()
        self._idle.clear()
        self._running.clear()


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for a while: a process that starts in it inherits them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _cause(code: int) -> str:
    """Name what ended a process: its exit code, or a signal (some have no name)."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _hear(running: _Running) -> Ended | None:
    """Read what a worker sent: the fraction done, and at last how the task ended."""
    try:
        while running.worker.pipe.poll():
            message: float | Ended = running.worker.pipe.recv()
            if not isinstance(message, float):
                return message
            running.fraction = message
            running.started = running.started or time.monotonic()
    except (EOFError, OSError):  # it is dead: seen at the next look
        pass
    except Exception:  # a stranger wrote into the pipe: nothing more from there can be believed
        running.worker.process.kill()
    return None


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _serve(pipe: Connection, place: Workplace, device: str) -> None:
    """Do one task after the other until the pipe closes; what runs in a worker process."""
    os.setpgid(0, 0)  # Ctrl-C is the run's to handle, and a group dies together
    _adopt_orphans()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    lasting: list[str] = []
    threads = threading.active_count()
    while not lasting and threading.active_count() <= threads:  # else the next gets a fresh one
        try:
            job_id, task = pipe.recv()
        except EOFError:
            return
        ended, lasting = _do(job_id, task, place, device, pipe)
        _end_children()
        pipe.send(ended)
    os._exit(0)  # whatever a task left running, or registered for the end


def _do(
    job_id: str, task: Task, place: Workplace, device: str, pipe: Connection
) -> tuple[Ended, list[str]]:
    """Do a task; return how it ended, and what it changed of this process for good.

    What fails around it, of its log or its store, is its end as well, and this process's.
    """
    lasting: list[str] = []
    try:
        return execute(job_id, task, place, device, pipe.send, lasting.extend), lasting
    except BaseException as error:
        guess = too_many_threads(place.threads) if isinstance(error, RuntimeError) else ""
        return ({}, told(error) + guess), [*lasting, "whatever could not be put back"]


def _adopt_orphans() -> None:
    """Make a child's children ours when it ends, so that none is lost from sight (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_children() -> None:
    """Kill what a task started and did not end."""
    with contextlib.suppress(ChildProcessError):  # there is none: the usual case, and quick
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        children = psutil.Process().children(recursive=True)
        _kill(children)
        psutil.wait_procs(children, timeout=5)


def _end_with_parent() -> None:
    """Leave when the run is killed: a task in progress would go on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(0, signal.SIGKILL)

"""Worker processes on this machine, each killable by itself."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, CancelledError, wait
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from pebble import ProcessExpired, ProcessFuture, ProcessPool

from dpbench.executors.base import Executor, Outcome, over_memory, over_time
from dpbench.executors.worker import execute, prepare, read_report
from dpbench.stages import Task

__all__ = ["LocalExecutor", "default_workers"]


def default_workers(device: str) -> int:
    """One per core, at most 8; one for a GPU, which a batch of lanes fills alone."""
    return 1 if device != "cpu" else max(1, min(8, len(os.sched_getaffinity(0))))


@dataclass
class _Running:
    future: ProcessFuture[tuple[dict[str, str], str | None]]
    report: Path
    started: float
    over_memory: bool = False


class LocalExecutor(Executor):
    """A pool of spawned processes.

    Args:
        store_root: directory of artifacts.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        workers: number of processes; cores are shared between them.
        seconds: a task that runs longer is stopped.
        memory_gib: a task whose process holds more is stopped.
    """

    def __init__(
        self,
        store_root: Path,
        device: str = "cpu",
        workers: int | None = None,
        seconds: float | None = None,
        memory_gib: float | None = None,
    ) -> None:
        super().__init__(store_root)
        self.device, self.seconds, self.memory_gib = device, seconds, memory_gib
        self._workers = workers or default_workers(device)
        threads = max(1, torch.get_num_threads() // self._workers)
        self._reports = Path(tempfile.mkdtemp(prefix="dpbench-"))
        self._pool = ProcessPool(
            max_workers=self._workers,
            initializer=prepare,
            initargs=[threads],
            context=multiprocessing.get_context("spawn"),
        )
        self._running: dict[str, _Running] = {}

    @property
    def slots(self) -> int:
        return self._workers

    def submit(self, job_id: str, task: Task) -> None:
        report = self._reports / f"{len(self._running)}-{time.monotonic_ns()}"
        future = self._pool.schedule(
            execute, args=[task, self.store_root, self.device, report], timeout=self.seconds
        )
        self._running[job_id] = _Running(future, report, time.monotonic())

    def wait(self, seconds: float) -> list[Outcome]:
        futures = [running.future for running in self._running.values()]
        if futures:
            wait(futures, timeout=seconds, return_when=FIRST_COMPLETED)
        self._stop_the_greedy()
        done = [job_id for job_id, r in self._running.items() if r.future.done()]
        return [self._outcome(job_id, self._running.pop(job_id)) for job_id in done]

    def _outcome(self, job_id: str, running: _Running) -> Outcome:
        seconds = time.monotonic() - running.started
        failures: dict[str, str] = {}
        try:
            failures, error = running.future.result()
        except TimeoutError:
            error = over_time(self.seconds or 0.0)
        except CancelledError:
            error = over_memory(self.memory_gib or 0.0)
        except ProcessExpired as died:
            error = f"its process died (exit code {died.exitcode}): killed, or out of memory?"
        with contextlib.suppress(OSError):
            running.report.unlink()
        return Outcome(job_id, failures, error, seconds)

    def progress(self) -> dict[str, float]:
        return {job_id: read_report(r.report)[1] for job_id, r in self._running.items()}

    def _stop_the_greedy(self) -> None:
        if self.memory_gib is None:
            return
        for running in self._running.values():
            pid, _ = read_report(running.report)
            if pid is None or running.over_memory:
                continue
            with contextlib.suppress(psutil.Error):
                if psutil.Process(pid).memory_info().rss > self.memory_gib * 2**30:
                    running.over_memory = True
                    running.future.cancel()

    def __exit__(self, *exception: object) -> None:
        self._pool.stop()
        self._pool.join(timeout=10)
        shutil.rmtree(self._reports, ignore_errors=True)

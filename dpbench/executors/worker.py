"""What happens inside a worker process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
import traceback
from pathlib import Path

import torch

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.stages import Task
from dpbench.store import Store

__all__ = ["execute", "prepare", "read_report"]

REPORT_EVERY = 0.25


def prepare(threads: int) -> None:
    """Set up a fresh worker."""
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the run is killed: a task in progress would go on for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def execute(task: Task, root: Path, device: str, report: Path) -> tuple[dict[str, str], str | None]:
    """Run one task; return failures by key and the error of the whole, if any.

    The first line of the file ``report`` is this process's id, the second the
    fraction done: a plain file outlives a killed worker and takes no lock.
    """
    last = 0.0

    def on_progress(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_EVERY:
            last = now
            with contextlib.suppress(OSError):
                report.write_text(f"{os.getpid()}\n{fraction:.4f}\n")

    on_progress(0.0)
    store = Store(root)
    context = Context(seed=task.seed, device=torch.device(device), on_progress=on_progress)
    try:
        return task.run(store, context), None
    except DpbenchError as error:
        return {}, str(error)
    except MemoryError:
        return {}, "out of memory: use fewer workers (--workers) or smaller batches"
    except Exception as error:  # a plugin may raise anything; the log keeps all of it
        log = _keep_traceback(root)
        message = str(error).splitlines()[0] if str(error) else ""
        return {}, f"{type(error).__name__}: {message} (traceback in {log})"


def read_report(path: Path) -> tuple[int | None, float]:
    """Return a task's process id and the fraction done; ``(None, 0)`` before it began."""
    try:
        pid, fraction = path.read_text().split()
        return int(pid), float(fraction)
    except (OSError, ValueError):
        return None, 0.0


def _keep_traceback(root: Path) -> Path:
    log = root.parent / "logs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(traceback.format_exc())
    return log

"""What happens inside a worker process, wherever it runs."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from typing import TextIO

import torch

from dpbench.api import Context, Workplace
from dpbench.errors import DpbenchError, told
from dpbench.executors.lent import forget_lent
from dpbench.executors.log import log_path, printed_to
from dpbench.executors.state import ProcessState, seed_everything
from dpbench.stages import Task
from dpbench.store import Mixed, Store

__all__ = ["Ended", "execute"]

#: How a task ended: failures by key, and the error of the whole, if any.
Ended = tuple[dict[str, str], str | None]
REPORT_EVERY = 0.25


def execute(
    job_id: str,
    task: Task,
    place: Workplace,
    device: str,
    on_progress: Callable[[float], None] = lambda _fraction: None,
    on_lasting: Callable[[list[str]], None] = lambda _names: None,
) -> Ended:
    """Run one task; whatever it raises, prints or changes stays its own.

    Args:
        job_id: names the file for what the task prints, and its traceback.
        task: what to do.
        place: the store, the logs and the number of threads.
        device: where tensors should live.
        on_progress: receives the fraction done, at once and then a few times a second.
        on_lasting: receives the names of what the task changed of its process and cannot
            be put back: the next task should have another.
    """
    torch.set_num_threads(place.threads)
    state = ProcessState()
    own = os.getpid()
    with printed_to(log_path(place.logs, job_id)) as output:
        try:
            store = Store(place.store_root, tuple(task.reads()))
            return _attempt(task, store, torch.device(device), output, on_progress)
        finally:
            if os.getpid() != own:  # a child that the task forked and lost
                os._exit(0)
            forget_lent(task)
            changed = state.restore()
            if changed:
                lasting = state.restore()
                on_lasting(lasting)
                _note(output, f"the task changed, and the worker put back: {', '.join(changed)}")
                if lasting:
                    gone = ", ".join(lasting)
                    _note(output, f"not to be put back, so that this process ends: {gone}")


def _attempt(
    task: Task,
    store: Store,
    device: torch.device,
    output: TextIO,
    on_progress: Callable[[float], None],
) -> Ended:
    seed_everything(None if getattr(task, "secure_rng", False) else task.seed)
    context = Context(seed=task.seed, device=device, on_progress=_sometimes(on_progress))
    try:
        _require_unmixed(task, store)
        failures = task.run(store, context)
        for key, reason in failures.items():
            _note(output, f"{key}: {reason}")
        return failures, None
    except DpbenchError as error:
        _note(output, told(error))
        return {}, told(error)
    except MemoryError:
        return {}, "out of memory: use fewer workers (--workers) or smaller batches"
    except BaseException as error:  # a plugin may raise anything, SystemExit too
        noted = _note(output, traceback.format_exc().rstrip("\n"))
        return {}, told(error) + (f" (traceback in {output.name})" if noted else "")


def _note(output: TextIO, text: str) -> bool:
    """Write to the log, and say whether it could be: a disk may be full, or a task close it."""
    try:
        print(text, file=output, flush=True)
    except (OSError, ValueError):
        return False
    return True


def _require_unmixed(task: Task, store: Store) -> None:
    """Refuse to make one thing of two that do not belong together."""
    for artifact in task.reads():
        if store.has(*artifact) and (source := store.outdated(*artifact)):
            raise Mixed(artifact, source)


def _sometimes(on_progress: Callable[[float], None]) -> Callable[[float], None]:
    """Pass on what is reported at once, then at most every :data:`REPORT_EVERY` seconds."""
    last = time.monotonic()
    on_progress(0.0)

    def report(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_EVERY:
            last = now
            on_progress(min(1.0, max(0.0, float(fraction))))  # a plugin may report anything

    return report

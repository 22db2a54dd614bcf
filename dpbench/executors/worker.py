"""What happens inside a worker process, wherever it runs."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import torch

from dpbench.api import Context
from dpbench.errors import DpbenchError, one_line
from dpbench.executors.log import printed_to
from dpbench.executors.state import ProcessState, seed_everything
from dpbench.stages import Task
from dpbench.store import Store

__all__ = ["Ended", "execute"]

#: How a task ended: failures by key, and the error of the whole, if any.
Ended = tuple[dict[str, str], str | None]
REPORT_EVERY = 0.25


def execute(
    task: Task,
    root: Path,
    device: str,
    log: Path,
    on_progress: Callable[[float], None] = lambda _fraction: None,
) -> Ended:
    """Run one task; whatever it raises, prints or changes stays its own.

    Args:
        task: what to do.
        root: directory of artifacts.
        device: where tensors should live.
        log: file for what the task prints, and its traceback.
        on_progress: receives the fraction done, at once and then a few times a second.
    """
    state = ProcessState()
    own = os.getpid()
    with printed_to(log) as output:
        try:
            return _attempt(task, Store(root), torch.device(device), output, on_progress)
        finally:
            if os.getpid() != own:  # a child that the task forked and lost
                os._exit(0)
            changed = state.restore()
            if changed:
                print(f"the task changed, and the worker put back: {', '.join(changed)}")


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
        return task.run(store, context), None
    except DpbenchError as error:
        return {}, one_line(error)
    except MemoryError:
        return {}, "out of memory: use fewer workers (--workers) or smaller batches"
    except BaseException as error:  # a plugin may raise anything, SystemExit too
        traceback.print_exc(file=output)
        reason = one_line(error)
        return {}, f"{type(error).__name__}: {reason} (traceback in {output.name})"


def _sometimes(on_progress: Callable[[float], None]) -> Callable[[float], None]:
    """Pass on what is reported at once, then at most every :data:`REPORT_EVERY` seconds."""
    last = time.monotonic()
    on_progress(0.0)

    def report(fraction: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT_EVERY:
            last = now
            on_progress(fraction)

    return report

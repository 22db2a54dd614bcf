"""CPU time and memory of a piece of work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

__all__ = ["Measured", "measured"]

_EVERY = 0.002


@dataclass
class Measured:
    """CPU seconds of this process, and by how many GiB its memory grew at most."""

    seconds: float = 0.0
    gib: float = 0.0


@contextlib.contextmanager
def measured() -> Iterator[Measured]:
    """Measure what happens inside the block; memory is looked at 500 times a second."""
    found, over = Measured(), threading.Event()
    process = psutil.Process()
    before = process.memory_info().rss

    def watch() -> None:
        while not over.wait(_EVERY):
            found.gib = max(found.gib, (process.memory_info().rss - before) / 2**30)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    started = time.process_time()
    try:
        yield found
    finally:
        found.seconds = time.process_time() - started
        over.set()
        watcher.join()

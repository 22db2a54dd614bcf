"""What the benchmarks share: the machine in words, tables, fitted exponents, peak memory."""

from __future__ import annotations

import math
import os
import platform
import shlex
import statistics
import sys
import threading
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

import psutil
from tabulate import tabulate

__all__ = [
    "GIB",
    "MIB",
    "PeakWatcher",
    "command",
    "exponent",
    "last_exponent",
    "machine",
    "numbers",
    "publish",
    "table",
    "tree_memory",
]

MIB, GIB = 2**20, 2**30


def command() -> str:
    """Return the command line of this process, as it is typed."""
    return "python " + shlex.join(sys.argv)


def machine() -> str:
    """Name processor, cores, memory and versions."""
    memory = psutil.virtual_memory().total / GIB
    cores = len(os.sched_getaffinity(0))
    return (
        f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, torch {version('torch')}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} ({platform.machine()})" if names else platform.machine()


def numbers(text: str) -> list[int]:
    """Parse ``1,4,16``; an empty text is an empty list."""
    return [int(part) for part in text.split(",") if part]


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table; the first column is text, the others are figures."""
    cells = [[str(cell) for cell in row] for row in rows]
    align = ("left", *("right" for _ in heads[1:]))
    text = tabulate(cells, heads, tablefmt="pipe", disable_numparse=True, colalign=align)
    return text.splitlines()


def publish(lines: Iterable[str], write: Path | None) -> None:
    """Print a report and, where a file is named, write it there."""
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if write is not None:
        write.write_text(text, encoding="utf-8")


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return x of ``cost ~ size^x`` by least squares of the logarithms.

    ``nan`` for fewer than two sizes, or where a cost is not positive.
    """
    if len(sizes) < 2 or min(costs) <= 0:
        return math.nan
    xs, ys = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    return statistics.linear_regression(xs, ys).slope


def last_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent between the last two sizes: what the next size will cost."""
    return exponent(sizes[-2:], costs[-2:])


def tree_memory(pid: int) -> tuple[int, int]:
    """Return the memory of a process and its descendants now, in bytes.

    The first figure is the sum of proportional set sizes: pages that several
    processes share, such as torch's libraries, count once. The second is the
    largest resident set of one process. A process that is gone counts nothing.
    """
    total = largest = 0
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0, 0
    for process in processes:
        try:
            memory = process.memory_full_info()
        except (psutil.Error, OSError):
            continue
        total += getattr(memory, "pss", memory.uss)  # outside Linux: what is its own
        largest = max(largest, memory.rss)
    return total, largest


class PeakWatcher:
    """Follows :func:`tree_memory` from a thread, while its context lasts.

    A look walks all pages of all processes: four a second cost a fifth of a core.

    Attributes:
        total: the largest sum so far, bytes.
        largest: the largest single process so far, bytes.
    """

    def __init__(self, pid: int, interval: float = 1.0) -> None:
        self.total = self.largest = 0
        self._pid, self._interval = pid, interval
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while True:
            total, largest = tree_memory(self._pid)
            self.total = max(self.total, total)
            self.largest = max(self.largest, largest)
            if self._ended.wait(self._interval):
                return

    def __enter__(self) -> PeakWatcher:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

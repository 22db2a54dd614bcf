"""Limits of one task, and the lines that name them."""

from __future__ import annotations

import contextlib
import os

import psutil

__all__ = ["held_gib", "memory_limit", "over_memory", "over_time", "too_many_threads"]


def memory_limit(gib: float | None) -> float:
    """Return the GiB that a task may hold: as configured, else 80% of this machine's."""
    return gib or 0.8 * psutil.virtual_memory().total / 2**30


def held_gib(pid: int) -> float:
    """Return the GiB that a process and its descendants hold; 0 when it is gone.

    Of descendants only what is theirs alone counts: what a fork shares is its parent's.
    """
    held = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        held = process.memory_info().rss
        for child in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                held += child.memory_full_info().uss
    return held / 2**30


def too_many_threads(threads: int) -> str:
    """Ask whether a task had too many threads; ``""`` if this machine has a core for each."""
    cores = os.cpu_count() or 1
    if threads <= cores:
        return ""
    return f": are {threads} threads (limits.threads) too many for {cores} cores?"


def over_time(seconds: float) -> str:
    """Say that a task was stopped at its time limit."""
    return f"ran longer than {seconds:g} s: raise limits.seconds or make it faster"


def over_memory(gib: float) -> str:
    """Say that a task was stopped at its memory limit."""
    return f"held more than {gib:g} GiB of memory: raise limits.memory_gib or make it smaller"

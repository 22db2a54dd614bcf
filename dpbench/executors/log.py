"""What a task prints goes to its log, not to the terminal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

__all__ = ["drop_empty", "log_path", "printed_to"]


def log_path(logs: Path, job_id: str) -> Path:
    """Return where a job's task prints."""
    return logs / (re.sub(r"[^\w.+-]+", "-", job_id)[:120] + ".txt")


@contextlib.contextmanager
def printed_to(path: Path) -> Iterator[TextIO]:
    """Send all output of this process and its children to ``path``; leave no empty file.

    The file descriptors themselves are turned, so that what C code or a child writes
    goes there too. A log that cannot be written is done without.
    """
    with _opened(path) as file, _descriptors(file.fileno()):
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield file
        file.flush()
    drop_empty(path)


def drop_empty(path: Path) -> bool:
    """Remove a log that nothing was written to; return whether there is none."""
    with contextlib.suppress(OSError):
        if path.stat().st_size:
            return False
        path.unlink()
    return True


def _opened(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError:
        return Path(os.devnull).open("w")


@contextlib.contextmanager
def _descriptors(target: int) -> Iterator[None]:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    saved = [(number, os.dup(number)) for number in (1, 2)]
    try:
        for number, _ in saved:
            os.dup2(target, number)
        yield
    finally:
        for number, before in saved:
            os.dup2(before, number)
            os.close(before)

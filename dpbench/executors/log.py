"""What a task prints goes to its log, not to the terminal."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

__all__ = ["drop_empty", "log_path", "printed_to", "shorten"]


def log_path(logs: Path, job_id: str) -> Path:
    """Return where a job's task prints."""
    return logs / (re.sub(r"[^\w.+-]+", "-", job_id)[:120] + ".txt")


#: Bytes of a log that are kept: so many of its beginning, and of its end.
KEPT = 2**19
LOOK_EVERY = 0.5


@contextlib.contextmanager
def printed_to(path: Path) -> Iterator[TextIO]:
    """Send all output of this process and its children to ``path``; leave no empty file.

    The file descriptors themselves are turned, so that what C code or a child writes
    goes there too. Of much output the middle is dropped. A log that cannot be written
    is done without.
    """
    with (
        _opened(path) as file,
        _descriptors(file.fileno()),
        _kept_short(path),
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        yield file
    drop_empty(path)


@contextlib.contextmanager
def _kept_short(path: Path) -> Iterator[None]:
    """Shorten a log while it is written, and at last: a task may print without end."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(LOOK_EVERY):
            shorten(path)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        shorten(path)


def shorten(path: Path) -> None:
    """Drop the middle of a file of more than four times :data:`KEPT` bytes."""
    with contextlib.suppress(OSError), path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size <= 4 * KEPT:
            return
        file.seek(size - KEPT)
        end = file.read(KEPT)
        file.truncate(KEPT)
        file.seek(KEPT)
        file.write(b"\n[%d bytes of output were dropped here]\n" % (size - 2 * KEPT) + end)


def drop_empty(path: Path) -> bool:
    """Remove a log that nothing was written to; return whether there is none.

    What is no file, such as ``/dev/null``, is never removed.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size:
            return False
        if path.is_file():
            path.unlink()
    return True


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    file = _open(path)
    try:
        yield file
    finally:
        with contextlib.suppress(OSError, ValueError):  # a full disk: it is closed all the same
            file.close()


def _open(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        # Whoever appends writes at the end, wherever that is after the file was shortened.
        return path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
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

"""Runs a download tool quietly, and gives up on it when nothing moves any more."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from dpbench.errors import DpbenchError

__all__ = ["SourceFailed", "run"]

POLL_SECONDS = 0.05
LONGEST_REASON = 160


class SourceFailed(DpbenchError):
    """One source did not deliver; the message is the reason, in a few words."""


def run(
    command: Sequence[str],
    folder: Path,
    *,
    stall: float,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run ``command`` inside ``folder``; what it prints goes to a file there.

    Args:
        stall: seconds without a new byte in ``folder`` before it is killed.
        environment: variables to set besides the inherited ones.

    Raises:
        SourceFailed: it cannot start, fails (the last line it printed is the
            reason), or stalls.
    """
    log = folder / "output.log"
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise SourceFailed(f"cannot run {command[0]}: {error.strerror}") from error
        try:
            _watch(process, folder, stall)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode != 0:
        raise SourceFailed(_last_line(log) or f"exit code {process.returncode}")


def _watch(process: subprocess.Popen[bytes], folder: Path, stall: float) -> None:
    size, since = -1, time.monotonic()
    while process.poll() is None:
        now, seen = time.monotonic(), _size(folder)
        if seen != size:
            size, since = seen, now
        elif now - since > stall:
            raise SourceFailed(f"no byte arrived for {stall:.0f} s")
        time.sleep(POLL_SECONDS)


def _size(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for path in (Path(directory, name) for name in names):
            with contextlib.suppress(FileNotFoundError):  # renamed since it was listed
                total += path.lstat().st_size
    return total


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")[:LONGEST_REASON]

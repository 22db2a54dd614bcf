"""Which commands made the results under a runs directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from dpbench.results.reading import SetAside, Unreadable, explain, read_json, to_json
from dpbench.results.schema import Run
from dpbench.store import write_json

__all__ = ["HISTORY", "append_history", "bring_history", "read_history"]

HISTORY = "history.json"


def read_history(runs: Path) -> tuple[list[Run], list[SetAside]]:
    """Return the commands that computed something, oldest first, and what cannot be read.

    Both are empty where nothing was recorded.
    """
    path = runs / HISTORY
    if not path.exists():
        return [], []
    try:
        content = read_json(path)
        if not isinstance(content, list):
            raise Unreadable("not a JSON list")
    except Unreadable as error:
        return [], [SetAside(HISTORY, explain(error))]
    found: list[Run] = []
    left: list[SetAside] = []
    for number, entry in enumerate(content, 1):
        try:
            found.append(Run.model_validate(entry))
        except ValidationError as error:
            left.append(SetAside(f"{HISTORY}, entry {number}", explain(error)))
    return found, left


def append_history(runs: Path, run: Run) -> None:
    """Add ``run``; a history of which something cannot be read is kept beside the new one."""
    _write(runs, [*read_history(runs)[0], run])


def bring_history(source: Path, runs: Path) -> None:
    """Add what ``source`` has and ``runs`` has not; all of it is then in order of time."""
    known, _ = read_history(runs)
    if new := [run for run in read_history(source)[0] if run not in known]:
        _write(runs, sorted([*known, *new], key=lambda run: run.finished))


def _write(runs: Path, entries: Sequence[Run]) -> None:
    if read_history(runs)[1]:
        path = runs / HISTORY
        path.rename(path.with_name(f"history-damaged-{path.stat().st_mtime_ns}.json"))
    write_json(runs / HISTORY, [to_json(entry) for entry in entries])

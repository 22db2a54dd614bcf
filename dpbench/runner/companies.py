"""Which trials trained together: their batches had one width, which decides last digits."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dpbench.stages import GeneratorTask

__all__ = ["bring_companies", "company_of", "note_company"]

FILE = "companies.jsonl"
_KEYS = TypeAdapter(tuple[str, ...])


def note_company(root: Path, task: GeneratorTask) -> None:
    """Add to what is known below ``root`` that a task's generators trained together."""
    line = _line(tuple(lane.key for lane in task.lanes))
    # On a full disk rows matter more.
    with contextlib.suppress(OSError), (root / FILE).open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else b"\n" + line
        file.write(line)


def company_of(root: Path, key: str) -> tuple[str, ...]:
    """Return the keys of the generators that trained with ``key`` last, itself among them.

    Empty where nothing is known: an earlier version trained it.
    """
    return next((company for company in reversed(_companies(root)) if key in company), ())


def bring_companies(source: Path, root: Path) -> None:
    """Let ``root`` know what ``source`` knows; of what both have, its own artifacts stayed."""
    own = _companies(root)
    if new := [company for company in _companies(source) if company not in own]:
        (root / FILE).write_bytes(b"".join(map(_line, new + own)))


def _line(company: tuple[str, ...]) -> bytes:
    return _KEYS.dump_json(company) + b"\n"


def _companies(root: Path) -> list[tuple[str, ...]]:
    """Return what is known below ``root``, oldest first."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for line in (root / FILE).read_bytes().splitlines():
            with contextlib.suppress(ValidationError):  # a killed run may leave half a line
                found.append(_KEYS.validate_json(line))
    return found

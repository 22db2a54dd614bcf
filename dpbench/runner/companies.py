"""Which trials trained together: their batches had one width, which decides last digits."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from dpbench.stages import GeneratorTask

__all__ = ["bring_companies", "company_of", "note_company"]

FILE = "companies.jsonl"
_KEYS = TypeAdapter(tuple[str, ...])


def note_company(root: Path, task: GeneratorTask) -> None:
    """Add to what is known below ``root`` that a task's generators trained together."""
    line = _KEYS.dump_json(tuple(lane.key for lane in task.lanes))
    # On a full disk rows matter more.
    with contextlib.suppress(OSError), (root / FILE).open("ab") as file:
        file.write(line + b"\n")


def company_of(root: Path, key: str) -> tuple[str, ...]:
    """Return the keys of the generators that trained with ``key`` last, itself among them.

    None where nothing is known: an earlier version trained it.
    """
    for line in reversed(_read(root).splitlines()):
        with contextlib.suppress(ValidationError):  # a killed run may leave half a line
            if key in (company := _KEYS.validate_json(line)):
                return company
    return ()


def bring_companies(source: Path, root: Path) -> None:
    """Let ``root`` know what ``source`` knows; of what both have, its own artifacts stayed."""
    own = _read(root).splitlines(keepends=True)
    if new := [line for line in _read(source).splitlines(keepends=True) if line not in own]:
        (root / FILE).write_bytes(b"".join(new + own))


def _read(root: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        return (root / FILE).read_bytes()
    return b""

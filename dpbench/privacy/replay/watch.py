"""Tells which files below a directory are opened or listed while something runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["watched"]

_EVENTS = frozenset({"open", "os.listdir", "os.scandir"})
#: Directories under watch at present, with what was touched; the hook itself can never be removed.
_active: list[tuple[str, set[str]]] = []
_installed = False


@contextlib.contextmanager
def watched(directory: Path | None) -> Iterator[set[str]]:
    """Gather the paths below ``directory`` that Python opens or lists; none is refused.

    What libraries open without asking Python is not seen, but to find a file whose
    name is a hash they must list its directory first.
    """
    touched: set[str] = set()
    if directory is None:
        yield touched
        return
    _install()
    entry = (os.path.realpath(directory), touched)
    _active.append(entry)
    try:
        yield touched
    finally:
        _active.remove(entry)


def _install() -> None:
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _active or event not in _EVENTS:
        return
    path = arguments[0] if arguments and arguments[0] is not None else "."
    if isinstance(path, int):
        return
    real = os.path.realpath(os.fsdecode(path))
    for directory, touched in _active:
        if real == directory or real.startswith(directory + os.sep):
            touched.add(real)

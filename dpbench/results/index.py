"""All rows of a directory in one file, so that ten thousand need not be opened one by one.

The index holds the rows' own bytes, and of each file what tells that it was touched. It is
never the truth: what does not agree with its file is read from there, and an index that is
damaged or gone is made anew. Readers parse the same bytes either way.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from dpbench.store import read_file

__all__ = ["INDEX", "Index"]

#: Beside the rows; its scratch files have a suffix.
INDEX = ".index"
#: So many rows are as quickly opened one by one.
FEWEST = 200
#: The share of rows that may have changed before the index is written again.
STALE = 0.01
#: A file touched a moment ago may be written again within one tick of its file system's clock.
SETTLED_NS = 2_000_000_000

#: Size, times of change and number of a file: any write to it changes one of them.
_Mark = tuple[int, int, int, int]


class Index:
    """The ``*.json`` files of a folder, read through its index; written on leaving, if stale.

    Attributes:
        paths: the files, in order of name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._now = folder, time.time_ns()
        self._marks = _marks(folder)
        self._kept = {
            name: data
            for name, (mark, data) in _load(folder / INDEX).items()
            if self._marks.get(name) == mark
        }
        self._new: dict[str, bytes] = {}
        self.paths = [folder / name for name in sorted(self._marks)]

    def read(self, path: Path) -> bytes:
        """Return the bytes of one of :attr:`paths`; raises as :func:`read_file` does."""
        name = path.name
        if name in self._kept:
            return self._kept[name]
        if name not in self._new:
            self._new[name] = read_file(path)
        return self._new[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None and len(self._marks) >= FEWEST:
            rows = self._settled()
            if len(rows) - len(self._kept) > STALE * len(self._marks):
                with contextlib.suppress(OSError):  # rows can be read where nothing can be written
                    _save(self._folder / INDEX, rows)

    def _settled(self) -> dict[str, tuple[_Mark, bytes]]:
        """Return what may stand in an index."""
        read = {**self._kept, **self._new}
        last = self._now - SETTLED_NS
        marked = ((name, mark) for name, mark in self._marks.items() if mark and name in read)
        return {name: (mark, read[name]) for name, mark in marked if max(mark[1:3]) < last}


def _marks(folder: Path) -> dict[str, _Mark | None]:
    """Return the rows' files, each with its mark; ``None`` for what is no plain file."""
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.endswith(".json")]
    except OSError:
        return {}
    return {entry.name: _mark(entry) for entry in entries if not entry.name.startswith(".")}


def _mark(entry: os.DirEntry[str]) -> _Mark | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # it has just gone: whoever reads it will say so
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _load(path: Path) -> dict[str, tuple[_Mark, bytes]]:
    """Return an index's rows; none where it is not whole."""
    try:
        data = read_file(path, most=2**32)
        checksum, _, body = data.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            return {}
        head, _, rows = body.partition(b"\n")
        found: dict[str, tuple[_Mark, bytes]] = {}
        start = 0
        for name, length, *mark in json.loads(head):
            size, modified, changed, number = mark
            found[name] = ((size, modified, changed, number), rows[start : start + length])
            start += length
        return found
    except (OSError, ValueError, TypeError):
        return {}


def _save(path: Path, rows: dict[str, tuple[_Mark, bytes]]) -> None:
    head = json.dumps([[name, len(data), *mark] for name, (mark, data) in rows.items()])
    body = b"\n".join((head.encode(), b"".join(data for _, data in rows.values())))
    scratch = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        scratch.write_bytes(b"\n".join((hashlib.sha256(body).hexdigest().encode(), body)))
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)

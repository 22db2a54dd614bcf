"""Where results are kept: one file for a trial, or a control, under one protocol."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpbench.results.audits import with_audits
from dpbench.results.index import Index
from dpbench.results.migrate import migrate_result
from dpbench.results.reading import SetAside, read_each, read_json, to_json
from dpbench.results.schema import SCHEMA_VERSION, Result
from dpbench.store import read_file, write_json

#: How a row of this version, as it is written, says so.
CURRENT = f'"schema_version": {SCHEMA_VERSION}'.encode()

__all__ = ["Rows", "load_results", "read_result", "read_results", "save_result", "united"]


@dataclass(frozen=True)
class Rows:
    """Results with their audits, in the order of a table; and files that are set aside.

    ``keys`` are the results' own, worked out once.
    """

    results: tuple[Result, ...]
    set_aside: tuple[SetAside, ...]
    keys: tuple[str, ...] = ()


def save_result(runs: Path, result: Result) -> None:
    """Write a result, replacing the one of the same trial and protocol.

    Kept of that one are the grids that mentioned it, and figures of the same images
    that the new result does not have: they were asked for by name, after the run.
    """
    path = runs / "results" / f"{result.key}.json"
    earlier, _ = read_each([path] if path.exists() else [], read_result)
    for old in earlier:
        result = united(old, result)
    write_json(path, to_json(result, exclude={"audit"}))


def read_results(runs: Path) -> Rows:
    """Read all results under ``runs``, of this schema version or an older one.

    Many rows are read through an :class:`Index`, which is made where it is missing or stale.
    """
    with Index(runs / "results") as index, _no_collection():
        found, unread = read_each(index.paths, lambda path: (path, read_result(path, index.read)))
    newest: dict[str, Result] = {}
    for path, result in found:
        key = result.key
        if key not in newest or path.stem == key:  # else a file of an older version
            newest[key] = result
    results, unread_audits = with_audits(runs, newest.values())
    ordered = sorted(zip(results, newest, strict=True), key=lambda pair: _order(pair[0]))
    return Rows(
        results=tuple(result for result, _ in ordered),
        set_aside=(*unread, *unread_audits),
        keys=tuple(key for _, key in ordered),
    )


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out: rows are none, and each look of its goes over all modules."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def load_results(runs: Path) -> list[Result]:
    """Return what can be read of the results under ``runs``, with their audits."""
    return list(read_results(runs).results)


def read_result(path: Path, read: Callable[[Path], bytes] = read_file) -> Result:
    """Read one row, of this schema version or an older one; raises whatever is wrong with it."""
    with contextlib.suppress(OSError, ValueError):  # then it is said below what is wrong
        data = read(path)
        if CURRENT in data and b"\\u" not in data:  # a third of the time of the usual way
            return Result.model_validate_json(data)
    return Result.model_validate(migrate_result(read_json(path, read)))


def united(old: Result, new: Result) -> Result:
    """Return ``new`` with the grids of ``old``, and with its further figures of the same images."""
    update: dict[str, Any] = {"grids": tuple(dict.fromkeys((*old.grids, *new.grids)))}
    same = old.artifacts.get("features") == new.artifacts.get("features")
    if same and old.protocol == new.protocol and new.metrics:
        for field in ("metrics", "unavailable", "artifacts"):
            update[field] = {**getattr(old, field), **getattr(new, field)}
    return new.model_copy(update=update)


def _order(result: Result) -> tuple[Any, ...]:
    return (
        result.dataset,
        result.settings,
        result.protocol["name"],
        not result.is_control,
        result.method,
        -(result.epsilon if result.epsilon is not None else math.inf),
        result.clip or 0.0,
        result.seed or 0,
        repr(result.axes),
    )

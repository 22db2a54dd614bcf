"""Where results are kept: one file for a trial, or a control, under one protocol."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpbench.results.audits import with_audits
from dpbench.results.migrate import migrate_result
from dpbench.results.reading import SetAside, read_each, read_json, to_json
from dpbench.results.schema import Result
from dpbench.store import write_json

__all__ = ["Rows", "load_results", "read_result", "read_results", "save_result"]


@dataclass(frozen=True)
class Rows:
    """Results with their audits, in the order of a table; and files that are set aside."""

    results: tuple[Result, ...]
    set_aside: tuple[SetAside, ...]


def save_result(runs: Path, result: Result) -> None:
    """Write a result, replacing the one of the same trial and protocol.

    Kept of that one are the grids that mentioned it, and figures of the same images
    that the new result does not have: they were asked for by name, after the run.
    """
    path = runs / "results" / f"{result.key}.json"
    earlier, _ = read_each([path] if path.exists() else [], read_result)
    for old in earlier:
        result = _merged(old, result)
    write_json(path, to_json(result, exclude={"audit"}))


def read_results(runs: Path) -> Rows:
    """Read all results under ``runs``, of this schema version or an older one."""
    paths = sorted((runs / "results").glob("*.json"))
    found, unread = read_each(paths, lambda path: (path, read_result(path)))
    newest: dict[str, Result] = {}
    for path, result in found:
        if result.key not in newest or path.stem == result.key:  # else a file of an older version
            newest[result.key] = result
    results, unread_audits = with_audits(runs, newest.values())
    return Rows(tuple(sorted(results, key=_order)), (*unread, *unread_audits))


def load_results(runs: Path) -> list[Result]:
    """Return what can be read of the results under ``runs``, with their audits."""
    return list(read_results(runs).results)


def read_result(path: Path) -> Result:
    """Read one row, of this schema version or an older one; raises whatever is wrong with it."""
    return Result.model_validate(migrate_result(read_json(path)))


def _merged(old: Result, new: Result) -> Result:
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

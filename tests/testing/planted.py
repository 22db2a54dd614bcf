"""How a bug that is planted in a plugin is looked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dpbench.testing import CHECKS
from dpbench.testing.run import run_check, subject_of

#: Bug, the check that catches it, and a word of the reason that it gives.
Table = list[tuple[type[Any], str, str]]


def assert_caught(kind: str, bug: type[Any], name: str, word: str) -> None:
    """Run one check on a bug."""
    each = next(check for check in CHECKS[kind] if check.name == name)
    result = run_check(each, subject_of(bug, kind))
    assert (result.outcome, word in result.reason) == ("failed", True), result


def own_checks(kind: str) -> set[str]:
    """Return the checks of ``kind`` alone: those that others share are proven on generators."""
    shared: set[str] = set()
    for other, checks in CHECKS.items():
        shared |= {check.name for check in checks if other != kind}
    return {check.name for check in CHECKS[kind]} - shared


def ids(table: Table) -> Iterable[str]:
    """Name the lines of a table."""
    return [f"{bug.__name__}: {name}" for bug, name, _ in table]

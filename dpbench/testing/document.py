"""The checks of all kinds as a Markdown list, for the documentation."""

from __future__ import annotations

from dpbench.testing import kinds
from dpbench.testing.checks import CHECKS, Check

__all__ = ["checks_list"]

TITLES = {
    "dataset": "Data sets",
    "public": "Public models",
    "extractor": "Extractors",
    "generator": "Private generators",
    "metric": "Metrics",
    "evaluator": "Evaluators",
    "executor": "Executors",
}


def checks_list() -> str:
    """Return all checks with their promises: those of several kinds first, then by kind."""
    shared = _shared()
    common = [check for check in CHECKS["generator"] if check.name in shared]
    parts = ["### Every kind, as far as it applies\n\n" + _lines(common)]
    for kind in kinds.SUBJECTS:
        own = [check for check in CHECKS[kind] if check.name not in shared]
        parts.append(f"### {TITLES[kind]}\n\n" + _lines(own))
    return "\n\n".join(parts) + "\n"


def _shared() -> set[str]:
    everything = [check for checks in CHECKS.values() for check in checks]
    bodies: dict[str, int] = {}
    for check in everything:
        bodies[check.name] = bodies.get(check.name, 0) + 1
    # The same promise made by two kinds alone stands with each of them.
    return {name for name, count in bodies.items() if count > 3}


def _lines(checks: list[Check]) -> str:
    return "\n".join(f"* `{check.name}`: {check.promise.replace('``', '`')}" for check in checks)

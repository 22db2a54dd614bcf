"""What a kit found: how every check ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Outcome", "Report", "Result"]

Outcome = Literal["passed", "failed", "expected", "skipped"]


@dataclass(frozen=True)
class Result:
    """How one check ended.

    Attributes:
        outcome: ``passed``; ``failed``; ``expected`` (it failed, as was declared);
            ``skipped`` (it could not run, so nothing is known).
        reason: for every outcome but ``passed``: how it shows, or why it was to be expected.
        seconds: of wall-clock time.
        figures: what was measured.
    """

    check: str
    promise: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """All results of one plugin.

    >>> report = Report("mine", "metric", (Result("range", "…", "skipped", "no data"),))
    >>> report.counts
    {'passed': 0, 'failed': 0, 'expected': 0, 'skipped': 1}
    >>> report.ok
    False
    """

    plugin: str
    kind: str
    results: tuple[Result, ...]

    def of(self, *outcomes: Outcome) -> tuple[Result, ...]:
        """Return the results that ended so."""
        return tuple(result for result in self.results if result.outcome in outcomes)

    @property
    def run(self) -> tuple[Result, ...]:
        """Checks that came to a verdict."""
        return self.of("passed", "failed", "expected")

    @property
    def failed(self) -> tuple[Result, ...]:
        """Broken promises that were not declared, and declarations that are not true."""
        return self.of("failed")

    @property
    def skipped(self) -> tuple[Result, ...]:
        """Checks that could not run."""
        return self.of("skipped")

    @property
    def expected(self) -> tuple[Result, ...]:
        """Broken promises that were declared, with the reason."""
        return self.of("expected")

    @property
    def ok(self) -> bool:
        """Whether something ran and nothing failed; see ``skipped`` for what is not known."""
        return bool(self.run) and not self.failed

    @property
    def counts(self) -> dict[str, int]:
        """How many checks ended in each way."""
        names: tuple[Outcome, ...] = ("passed", "failed", "expected", "skipped")
        return {name: len(self.of(name)) for name in names}

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {name}" for name, count in self.counts.items() if count)
        found = self.of("failed", "expected", "skipped")
        lines = [f"  {result.outcome} {result.check}: {result.reason}" for result in found]
        return "\n".join([f"{self.kind} {self.plugin}: {counts or 'no checks'}", *lines])

    def records(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return {
            "plugin": self.plugin,
            "kind": self.kind,
            "ok": self.ok,
            "counts": self.counts,
            "results": [{**vars(r), "figures": dict(r.figures)} for r in self.results],
        }

"""What is compared: one method at one target, with all its seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dpbench.leaderboard.words import significant
from dpbench.metrics.uncertainty import Interval, summarise
from dpbench.results import Choice, Result

__all__ = ["PRIMARY", "SCORED", "Candidate", "Target", "axis_order"]

PRIMARY = "fid"
SCORED = ("ok", "collapsed")


def axis_order(value: Any) -> tuple[bool, float, str]:
    """Sort values of an axis: numbers by size, then whatever else there is by its text."""
    number = isinstance(value, int | float)
    return not number, value if number else 0.0, str(value)


@dataclass(frozen=True)
class Target:
    """What a trial was allowed: an epsilon, or a given noise multiplier; and delta."""

    epsilon: float | None
    noise_multiplier: float | None
    delta: float | None

    @classmethod
    def of(cls, result: Result) -> Target:
        given = result.noise_multiplier is not None  # then epsilon is what came of it
        return cls(None if given else result.epsilon, result.noise_multiplier, result.delta)

    @property
    def private(self) -> bool:
        return self.noise_multiplier is not None or math.isfinite(self.epsilon or math.inf)

    @property
    def order(self) -> tuple[float, ...]:
        """Least private first; targets given as noise after those given as epsilon."""
        epsilon = math.inf if self.epsilon is None else self.epsilon
        return (float(self.noise_multiplier is not None), -epsilon, self.noise_multiplier or 0.0)


@dataclass(frozen=True)
class Candidate:
    """One method at one target, clip and setting of the other axes; a result per seed."""

    method: str
    target: Target
    varied: dict[str, Any]
    results: tuple[Result, ...]

    @property
    def clip(self) -> float | None:
        return self.varied.get("clip")

    @property
    def axes(self) -> dict[str, Any]:
        """Whatever else is varied, by its full name."""
        rest = {name: value for name, value in self.varied.items() if name not in ("clip", "axes")}
        return {**self.varied.get("axes", {}), **rest}

    @property
    def axes_order(self) -> list[tuple[str, Any]]:
        """Sorts candidates by their values of the other axes."""
        return [(name, axis_order(value)) for name, value in self.axes.items()]

    @property
    def statuses(self) -> set[str]:
        return {result.status for result in self.results}

    @property
    def rankable(self) -> bool:
        """Some seed has a score, and none spent more than its budget."""
        return "over-budget" not in self.statuses and bool(self.seeds(PRIMARY))

    @property
    def leak(self) -> str | None:
        """What the replay check found: something told neighbouring data sets apart."""
        replays = (r.privacy.replay for r in self.results if r.privacy and r.privacy.replay)
        failed = (replay for replay in replays if replay.verdict == "failed")
        return next((replay.reason or "no reason given" for replay in failed), None)

    @property
    def refutation(self) -> str | None:
        """By how much an audit found more epsilon than the ledger states."""
        audits = [r.audit for r in self.results if r.audit and r.audit.refuted]
        if not audits:
            return None
        worst = max(audits, key=lambda audit: audit.epsilon_lower)
        bound, claim = significant(worst.epsilon_lower), significant(worst.epsilon_claimed)
        return f"an audit found ε ≥ {bound} where {claim} is claimed"

    @property
    def audited(self) -> float | None:
        """The largest epsilon that an audit showed with confidence."""
        return max((r.audit.epsilon_lower for r in self.results if r.audit), default=None)

    @property
    def collapsed(self) -> bool:
        return "collapsed" in self.statuses

    @property
    def incomplete(self) -> bool:
        """Some seed ended without a score, so that the mean is of the survivors."""
        return not self.statuses <= set(SCORED)

    def seeds(self, column: str) -> dict[int, float]:
        """Return a figure by seed, where there is one that counts."""
        return {
            result.seed or 0: result.metrics[column]
            for result in self.results
            if result.status in SCORED and column in result.metrics
        }

    @property
    def first(self) -> Result:
        """The result of the first seed that has a score: the one whose samples are shown."""
        return next((r for r in self.results if PRIMARY in r.metrics), self.results[0])

    def figure(self, column: str) -> Interval | None:
        return summarise(self.seeds(column).values())

    @cached_property
    def worth(self) -> tuple[bool, bool, float]:
        """Sorts candidates: whole before incomplete, all classes present, then mean FID."""
        figure = self.figure(PRIMARY)
        return self.incomplete, self.collapsed, figure.mean if figure else math.inf

    @property
    def choice(self) -> Choice:
        """How it is chosen, if it is: by a rule other than scores where any seed says so."""
        choices = [result.choice for result in self.results]
        return next((choice for choice in choices if choice.chosen), choices[0])

    @property
    def claimed(self) -> float | None:
        """The target; where the noise was given instead, there is no claim but what it came to."""
        return self.target.epsilon if self.target.noise_multiplier is None else self.spent

    @property
    def spent(self) -> float | None:
        """The largest epsilon that any seed spent."""
        spent = (r.epsilon_spent for r in self.results if r.epsilon_spent is not None)
        return max(spent, default=None)

    @property
    def setting(self) -> str:
        """Clip and other axes, as a reader writes them: ``0.1, activation = tanh``."""
        axes = [f"{name.rpartition('.')[2]} = {value}" for name, value in self.axes.items()]
        return ", ".join([*([] if self.clip is None else [f"{self.clip:g}"]), *axes])

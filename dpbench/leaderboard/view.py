"""What a reader asked to see: which figures, at which epsilons, in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dpbench.described import described
from dpbench.errors import DpbenchError, did_you_mean
from dpbench.leaderboard.candidates import PRIMARY, Target
from dpbench.leaderboard.sections import Section

__all__ = ["SHORT", "UnknownColumn", "View", "require_axis"]


class UnknownColumn(DpbenchError):
    """A figure, an epsilon or an order that these results do not have."""


@dataclass(frozen=True)
class View:
    """Figures and targets of a short table, and the order of its rows.

    Attributes:
        metrics: keys of figures, in the order of the columns.
        epsilons: the targets to show; all if empty.
        sort: ``rank``, ``method``, or the key of a figure: the best mean first over targets that
            most methods have, behind those of all such targets those that lack it at some.
        spread: FID with its standard deviation.
    """

    metrics: tuple[str, ...] = (PRIMARY, "is")
    epsilons: tuple[float, ...] = ()
    sort: str = "rank"
    spread: bool = False

    def check(self, sections: list[Section]) -> None:
        """Raise :class:`UnknownColumn` for what no section has."""
        known = {k for s in sections for r in (*s.trials, *s.controls) for k in r.metrics}
        for key in (*self.metrics, *({self.sort} - {"rank", "method"})):
            if key not in known and key not in SHORT.metrics:
                raise UnknownColumn(
                    f"no figure {key!r} in these results{did_you_mean(key, sorted(known))} "
                    f"(there are: {', '.join(sorted(known))})"
                )
        there = {_epsilon(target) for section in sections for target in section.targets}
        for epsilon in self.epsilons:
            if epsilon not in there:
                named = ", ".join(f"{value:g}" for value in sorted(there))
                raise UnknownColumn(f"no trial at ε = {epsilon:g} (there are: {named})")

    def among(self, section: Section) -> list[Target]:
        """Return the targets to show."""
        wanted = [t for t in section.targets if _epsilon(t) in self.epsilons]
        return wanted if self.epsilons else section.targets

    def order(self, section: Section) -> list[str]:
        """Return the methods, best first, or by name."""
        if self.sort == "method":
            return section.methods
        targets = self.among(section)
        if self.sort == "rank":
            return section.by_rank(targets)
        common = section.common(targets)
        return sorted(section.by_rank(targets), key=lambda m: self._worth(section, m, common))

    def _worth(self, section: Section, method: str, targets: Sequence[Target]) -> tuple[int, float]:
        """Return at how many targets the figure to sort by is missing, and its mean at others.

        Smaller is better in both: means of other targets than the rest has say nothing.
        """
        column = described().figures.get(self.sort)
        sign = -1 if column is not None and column.better == "higher" else 1
        chosen = [section.chosen(method, target) for target in targets]
        figures = [c.figure(self.sort) for c in chosen if c]
        found = [sign * figure.mean for figure in figures if figure]
        return len(targets) - len(found), sum(found) / len(found) if found else math.inf


def require_axis(sections: list[Section], axis: str) -> None:
    """Raise :class:`UnknownColumn` unless some candidate has a value of ``axis``."""
    names = {name for s in sections for c in s.candidates for name in c.axes}
    known = sorted({"clip", "seed", *names, *(name.rpartition(".")[2] for name in names)})
    if axis not in known:
        raise UnknownColumn(
            f"nothing was swept by {axis!r}{did_you_mean(axis, known)} "
            f"(there are: {', '.join(known)})"
        )


def _epsilon(target: Target) -> float:
    return math.inf if target.epsilon is None else target.epsilon


SHORT = View()

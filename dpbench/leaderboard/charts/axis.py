"""Where a value lies along an axis, and which values are written beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from dpbench.leaderboard.words import significant

__all__ = ["Axis", "around"]

#: The part of an axis that infinity, and zero on a log scale, have to themselves.
EDGE = 0.12
TICKS = 6


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` to ``high``, on a log scale or not.

    Attributes:
        marks: the values to write beside it; round ones of its own choice if empty.
        infinity: infinity has a place at the end.
        zero: zero has a place at the beginning of a log scale.
    """

    low: float
    high: float
    log: bool = False
    marks: tuple[float, ...] = ()
    infinity: bool = False
    zero: bool = False

    def at(self, value: float) -> float:
        """Return the place of ``value`` from 0 to 1; what lies outside stands at the edge."""
        if math.isinf(value):
            return 1.0 - EDGE / 4
        if self.zero and value <= 0:
            return EDGE / 4
        first, last = EDGE * self.zero, 1.0 - EDGE * self.infinity
        share = (self._scaled(value) - self._scaled(self.low)) / self._span
        return first + (last - first) * min(max(share, 0.0), 1.0)

    @property
    def _span(self) -> float:
        return self._scaled(self.high) - self._scaled(self.low) or 1.0

    def _scaled(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.log else value

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return places and texts of what is written beside the axis."""
        marks = list(self.marks) or (_log_marks if self.log else _marks)(self.low, self.high)
        ends = [math.inf] if self.infinity else []
        starts = [0.0] if self.zero else []
        return [(self.at(mark), significant(mark)) for mark in (*starts, *marks, *ends)]


def around(values: Iterable[float], log: bool = False, low: float | None = None) -> Axis:
    """Return an axis that holds all finite ``values`` with some room, from ``low`` if given."""
    finite = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    least, most = min(finite, default=1.0), max(finite, default=1.0)
    if log:
        return Axis(least / 1.15, most * 1.15, log=True)
    room = 0.06 * (most - least or abs(most) or 1.0)
    return Axis(least - room if low is None else max(low, least - room), most + room)


def _marks(low: float, high: float) -> list[float]:
    """Return at most about :data:`TICKS` round values."""
    step = 10.0 ** math.floor(math.log10((high - low) / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= TICKS)
    first = math.ceil(low / step - 1e-9)
    return [round(step * n, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_marks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times powers of ten; over a narrow range, round values."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    many = math.log10(high / low) > 3
    factors = (1,) if many else (1, 2, 5)
    found = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
    return found if len(found) > 1 else [mark for mark in _marks(low, high) if mark > 0]

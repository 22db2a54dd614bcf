"""Several seeds: means with intervals, and ranks that admit ties. Needs no torch."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.special import digamma, polygamma, stdtr, stdtrit

__all__ = ["Interval", "Pair", "Standing", "compare_pairs", "rank", "standings", "summarise"]

CONFIDENCE = 0.95
#: Pairs from which their usual variance can be told.
MODERATED = 10


@dataclass(frozen=True)
class Interval:
    """Mean of ``count`` seeds, their standard deviation (ddof 1) and a 95% t interval.

    With one seed there is no spread: ``std``, ``low`` and ``high`` are ``None``.
    """

    mean: float
    count: int
    std: float | None = None
    low: float | None = None
    high: float | None = None


def summarise(values: Iterable[float]) -> Interval | None:
    """Summarise the finite ``values`` of one figure over seeds; ``None`` if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    mean = statistics.fmean(finite)
    if len(finite) == 1:
        return Interval(mean, 1)
    std = statistics.stdev(finite)
    half = float(stdtrit(len(finite) - 1, 0.975)) * std / math.sqrt(len(finite))
    return Interval(mean, len(finite), std, mean - half, mean + half)


@dataclass(frozen=True)
class Standing:
    """Where a method may stand among others, at 95% confidence for all of them together.

    Attributes:
        low: one more than the number of methods surely better.
        high: the number of methods less those surely worse.
        mean: of its figure.
        tested: there was a second seed to compare it by with every other.
    """

    low: int
    high: int
    mean: float
    tested: bool


def standings(
    scores: Mapping[str, Mapping[int, float]], better: Literal["higher", "lower"]
) -> dict[str, Standing]:
    """Return where methods stand by their figure over seeds, best first.

    Each pair is compared over the seeds that both have, by a t test whose variance
    is moderated by those of the other pairs, and all pairs together keep to 5%
    (Holm). Figures that are all positive are compared by their logarithms: the spread
    of a distance grows with it.

    Args:
        scores: per method, its figure per seed; what is not finite is left out.
    """
    finite = {name: _finite(runs) for name, runs in scores.items()}
    finite = {name: runs for name, runs in finite.items() if runs}
    pairs = _compare(finite)
    sign = 1 if better == "higher" else -1
    found = {}
    for name, runs in finite.items():
        own = [pair for pair in pairs if name in pair.names]
        ahead = [pair for pair in own if pair.surely and pair.winner(sign) == name]
        behind = [pair for pair in own if pair.surely and pair.winner(sign) != name]
        tested = all(pair.p is not None for pair in own)
        mean = statistics.fmean(runs.values())
        found[name] = Standing(1 + len(behind), len(finite) - len(ahead), mean, tested)
    order = sorted(found, key=lambda n: (found[n].low, found[n].high, -sign * found[n].mean))
    return {name: found[name] for name in order}


def rank(
    scores: Mapping[str, Mapping[int, float]], better: Literal["higher", "lower"]
) -> dict[str, str]:
    """Return a label per method that has a figure, best first; see :func:`standings`.

    A method's rank is one more than the number of methods surely better than it;
    methods of equal rank are marked ``"2="``. Where some pair has fewer than two seeds in
    common, the ranks of its methods follow the means and are marked ``"2?"``.
    """
    found = standings(scores, better)
    sign = 1 if better == "higher" else -1
    untested = [standing for standing in found.values() if not standing.tested]
    place = {
        name: standing.low
        if standing.tested
        else 1 + sum(sign * other.mean > sign * standing.mean for other in untested)
        for name, standing in found.items()
    }
    shared = {name for name in place if list(place.values()).count(place[name]) > 1}
    return {
        name: f"{place[name]}{'=' if name in shared else ''}{'' if found[name].tested else '?'}"
        for name in sorted(place, key=lambda name: (place[name], -sign * found[name].mean))
    }


@dataclass
class Pair:
    """Two methods: their mean difference, and whether it is surely not zero.

    Attributes:
        difference: of the first from the second; of logarithms where all are positive.
        degrees: of freedom of ``variance``; 0 where they share fewer than two seeds.
        p: two-sided; ``None`` where nothing can be tested.
    """

    names: tuple[str, str]
    difference: float
    variance: float
    degrees: int
    p: float | None = None
    surely: bool = False

    def winner(self, sign: int) -> str:
        return self.names[0] if sign * self.difference > 0 else self.names[1]


def _finite(runs: Mapping[int, float]) -> dict[int, float]:
    return {seed: value for seed, value in runs.items() if math.isfinite(value)}


def _compare(scores: Mapping[str, Mapping[int, float]]) -> list[Pair]:
    """Compare all pairs of methods."""
    named = itertools.combinations(scores, 2)
    found = [(names, scores[names[0]], scores[names[1]]) for names in named]
    return compare_pairs(found, len(scores) - 1)


def compare_pairs(
    named: Iterable[tuple[tuple[str, str], Mapping[int, float], Mapping[int, float]]],
    independent: int,
) -> list[Pair]:
    """Compare pairs of runs over their seeds, such that all verdicts together hold at 95%.

    Args:
        named: names of both sides, and their figures by seed.
        independent: how many of the pairs' variances are independent of each other.
    """
    named = list(named)
    values = [value for _, a, b in named for value in (*a.values(), *b.values())]
    scale = math.log if all(value > 0 for value in values) else float
    pairs = [_pair(names, a, b, scale) for names, a, b in named]
    _test([pair for pair in pairs if pair.degrees], independent)
    _correct([pair for pair in pairs if pair.p is not None])
    return pairs


def _pair(
    names: tuple[str, str],
    a: Mapping[int, float],
    b: Mapping[int, float],
    scale: Callable[[float], float],
) -> Pair:
    gaps = [scale(a[seed]) - scale(b[seed]) for seed in sorted(a.keys() & b.keys())]
    mean = statistics.fmean(gaps) if gaps else math.nan
    degrees = max(len(gaps) - 1, 0)
    return Pair(names, mean, statistics.variance(gaps) if degrees else 0.0, degrees)


def _test(pairs: Sequence[Pair], independent: int) -> None:
    """Set ``p`` by a t test, its variance moderated where there are enough pairs to learn from."""
    spread = [pair.variance for pair in pairs if pair.variance > 0]
    usual, weight = 0.0, 0.0
    if len(spread) == len(pairs) >= MODERATED:
        usual, weight = _prior(pairs, independent)
    for pair in pairs:
        degrees = pair.degrees + weight
        variance = (weight * usual + pair.degrees * pair.variance) / degrees
        error = math.sqrt(variance / (pair.degrees + 1))
        if error == 0:
            pair.p = 1.0 if pair.difference == 0 else 0.0
        else:
            most = independent * pair.degrees  # what independent pairs would have
            pair.p = 2 * float(stdtr(min(degrees, most), -abs(pair.difference) / error))


def _prior(pairs: Sequence[Pair], independent: int) -> tuple[float, float]:
    """Return the usual variance of pairs, and how many degrees of freedom it is worth.

    By the moments of log variances (Smyth 2004, section 6.2). Halved, and capped at half
    of what the seeds hold: pairs that share a method are not independent.
    """
    from scipy.optimize import brentq  # takes long to load, and a board of two needs none of it

    logs = [math.log(p.variance) - digamma(p.degrees / 2) + math.log(p.degrees / 2) for p in pairs]
    cap = 0.5 * independent * statistics.fmean(p.degrees for p in pairs)
    excess = statistics.variance(logs) - statistics.fmean(
        polygamma(1, p.degrees / 2) for p in pairs
    )
    mean = statistics.fmean(logs)
    if excess <= polygamma(1, 1e6):
        return math.exp(mean), cap
    half = brentq(lambda x: polygamma(1, x) - excess, 1e-3, 1e6)
    return math.exp(mean + digamma(half) - math.log(half)), min(half, cap)


def _correct(pairs: Sequence[Pair]) -> None:
    """Mark those pairs that differ, such that all marks are right in 95 of 100 boards (Holm)."""
    for number, pair in enumerate(sorted(pairs, key=lambda pair: pair.p or 0.0)):
        if pair.p is None or pair.p > (1 - CONFIDENCE) / (len(pairs) - number):
            return
        pair.surely = True

"""Several seeds: means with intervals, and ranks that admit ties. Needs no torch."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
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
    # Several times as fast as statistics.stdev, whose fractions are exact to no end here.
    std = math.sqrt(math.fsum((value - mean) ** 2 for value in finite) / (len(finite) - 1))
    half = float(stdtrit(len(finite) - 1, 0.975)) * std / math.sqrt(len(finite))
    return Interval(mean, len(finite), std, mean - half, mean + half)


@dataclass(frozen=True)
class Standing:
    """Where a method may stand among others, at 95% confidence for all of them together.

    Attributes:
        low: one more than the number of methods surely better.
        high: the number of methods less those surely worse.
        mean: of its figure.
        tested: it shares two seeds with some other, so that the two can be compared.
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
    names, sign = list(finite), 1 if better == "higher" else -1
    pairs = _all_pairs(list(finite.values()))
    several = pairs.degrees > 0
    tested = np.zeros(len(names), bool)
    tested[pairs.first[several]] = tested[pairs.second[several]] = True
    sure = _surely(pairs, int(tested.sum()) - 1)
    wins = sign * pairs.difference[sure] > 0
    ahead = np.where(wins, pairs.first[sure], pairs.second[sure])
    behind = np.where(wins, pairs.second[sure], pairs.first[sure])
    worse, surpassed = (np.bincount(side, minlength=len(names)) for side in (ahead, behind))
    found = {
        name: Standing(
            low=1 + int(surpassed[place]),
            high=len(names) - int(worse[place]),
            mean=statistics.fmean(finite[name].values()),
            tested=bool(tested[place]) or len(names) == 1,
        )
        for place, name in enumerate(names)
    }
    order = sorted(found, key=lambda n: (found[n].low, found[n].high, -sign * found[n].mean))
    return {name: found[name] for name in order}


def rank(
    scores: Mapping[str, Mapping[int, float]], better: Literal["higher", "lower"]
) -> dict[str, str]:
    """Return a label per method that has a figure, best first; see :func:`standings`.

    A method's rank is one more than the number of methods surely better than it;
    methods of equal rank are marked ``"2="``. One that shares two seeds with no other is
    surely better or worse than none; its rank follows the means of all and is marked ``"2?"``.
    """
    found = standings(scores, better)
    sign = 1 if better == "higher" else -1
    means = sorted(-sign * standing.mean for standing in found.values())
    place = {
        name: standing.low
        if standing.tested
        else 1 + bisect.bisect_left(means, -sign * standing.mean)
        for name, standing in found.items()
    }
    counts = Counter(place[name] for name in place if found[name].tested)
    shared = {name for name in place if found[name].tested and counts[place[name]] > 1}
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
    tested = [pair for pair in pairs if pair.degrees]
    many = _Pairs.of(tested)
    for pair, p in zip(tested, _p(many, independent), strict=True):
        pair.p = float(p)
    for place in _surely(many, independent):
        tested[place].surely = True
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


@dataclass(frozen=True)
class _Pairs:
    """Many pairs, a field each: a board of 5,000 methods has twelve million."""

    difference: NDArray[np.float64]
    variance: NDArray[np.float64]
    degrees: NDArray[np.int64]
    first: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    second: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> _Pairs:
        return cls(
            np.array([pair.difference for pair in pairs], np.float64),
            np.array([pair.variance for pair in pairs], np.float64),
            np.array([pair.degrees for pair in pairs], np.int64),
        )


def _all_pairs(scores: Sequence[Mapping[int, float]]) -> _Pairs:
    """Compare each of ``scores`` with all that come after it, over the seeds that both have."""
    seeds = sorted({seed for runs in scores for seed in runs})
    figures = np.array([[runs.get(seed, math.nan) for runs in scores] for seed in seeds])
    figures = figures.reshape(len(seeds), len(scores))
    if not (figures <= 0).any():
        figures = np.log(figures)
    there = ~np.isnan(figures)
    rows = [_with_later(figures, there, place) for place in range(len(scores))]
    none, after = np.zeros(0), np.arange(len(scores))
    return _Pairs(
        difference=np.concatenate([none, *(row[0] for row in rows)]),
        variance=np.concatenate([none, *(row[1] for row in rows)]),
        degrees=np.concatenate([after[:0], *(row[2] for row in rows)]),
        first=np.repeat(after, after[::-1]),
        second=np.concatenate([after[:0], *(after[place + 1 :] for place in after)]),
    )


def _with_later(
    figures: NDArray[np.float64], there: NDArray[np.bool_], place: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return difference, variance and degrees of a column of ``[seed, method]`` with later ones."""
    gaps = figures[:, place, None] - figures[:, place + 1 :]
    here = there[:, place, None] & there[:, place + 1 :]
    count = here.sum(0)
    with np.errstate(invalid="ignore"):  # pairs without a seed in common
        mean = np.where(here, gaps, 0).sum(0) / count
    spread = np.where(here, gaps - mean, 0)
    degrees = np.maximum(count - 1, 0)
    variance = (spread**2).sum(0) / np.maximum(degrees, 1)
    most, least = (
        gaps.max(0, initial=-np.inf, where=here),
        gaps.min(0, initial=np.inf, where=here),
    )
    return mean, np.where(most == least, 0.0, variance), degrees


def _statistics(pairs: _Pairs, independent: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return t of each tested pair, and its degrees of freedom by the pair's own.

    The variance is moderated where there are enough pairs to learn from.
    """
    usual, weight = 0.0, 0.0
    if len(pairs.degrees) >= MODERATED and (pairs.variance > 0).all():
        usual, weight = _prior(pairs, independent)
    variance = (weight * usual + pairs.degrees * pairs.variance) / (pairs.degrees + weight)
    error, gap = np.sqrt(variance / (pairs.degrees + 1)), np.abs(pairs.difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(gap == 0, 0.0, gap / error)
    own = np.arange(1 + pairs.degrees.max(initial=0))
    # At most what independent pairs would have.
    return t, np.minimum(own + weight, independent * own)


def _p(pairs: _Pairs, independent: int) -> NDArray[np.float64]:
    """Return the two-sided p of a t test of each pair."""
    t, freedom = _statistics(pairs, independent)
    return np.asarray(2 * stdtr(freedom[pairs.degrees], -t))


def _surely(pairs: _Pairs, independent: int) -> NDArray[np.int64]:
    """Return which pairs differ, such that all verdicts are right in 95 of 100 boards (Holm)."""
    tested = np.flatnonzero(pairs.degrees)
    kept = _Pairs(pairs.difference[tested], pairs.variance[tested], pairs.degrees[tested])
    t, freedom = _statistics(kept, independent)
    left = np.arange(len(tested))
    while True:  # p of what cannot pass even as the last of those that do is not worked out
        loosest = (1 - CONFIDENCE) / (len(tested) - len(left) + 1)
        least = -stdtrit(np.maximum(freedom, 1), loosest / 2) * (1 - 1e-9)
        passing = left[t[left] >= least[kept.degrees[left]]]
        if len(passing) == len(left):
            break
        left = passing
    p = 2 * stdtr(freedom[kept.degrees[left]], -t[left])
    order = np.argsort(p, kind="stable")
    fails = p[order] > (1 - CONFIDENCE) / (len(tested) - np.arange(len(left)))
    end = int(fails.argmax()) if fails.any() else len(left)
    return np.asarray(tested[left[order[:end]]])


def _prior(pairs: _Pairs, independent: int) -> tuple[float, float]:
    """Return the usual variance of pairs, and how many degrees of freedom it is worth.

    By the moments of log variances (Smyth 2004, section 6.2). Halved, and capped at half
    of what the seeds hold: pairs that share a method are not independent.
    """
    half_of = np.maximum(np.arange(1 + pairs.degrees.max()), 1) / 2
    logs = np.log(pairs.variance) + (np.log(half_of) - digamma(half_of))[pairs.degrees]
    cap = 0.5 * independent * float(pairs.degrees.mean())
    excess = float(logs.var(ddof=1) - polygamma(1, half_of)[pairs.degrees].mean())
    mean = float(logs.mean())
    if excess <= polygamma(1, 1e6):
        return math.exp(mean), cap
    half = _inverse_trigamma(excess)
    return math.exp(mean + digamma(half) - math.log(half)), min(half, cap)


def _inverse_trigamma(value: float) -> float:
    """Return x of trigamma(x) = ``value``, positive, by Newton's method (Smyth 2004, appendix).

    On 1 / trigamma, which is convex and nearly a line, it converges from above.
    """
    x = 0.5 + 1 / value
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        step = trigamma * (1 - trigamma / value) / float(polygamma(2, x))
        x += step
        if abs(step) <= 1e-14 * x:
            break
    return x

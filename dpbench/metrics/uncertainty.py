"""Several seeds: means with intervals, and ranks that admit ties. Needs no torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

__all__ = ["Interval", "rank", "summarise"]


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


def rank(
    scores: Mapping[str, Mapping[int, float]], better: Literal["higher", "lower"]
) -> dict[str, str]:
    """Rank methods by their figure over seeds, with ties.

    A method's rank is one more than the number of methods surely better than
    it: those whose difference, paired over the seeds both have, has a 95% t
    interval beyond zero. Methods of equal rank are marked ``"2="``.

    A pair with fewer than two seeds in common cannot be tested. It is ordered
    by its means, and ranks that hang on such an order are marked ``"2?"``.

    Args:
        scores: per method, its figure per seed; what is not finite is left out.

    Returns:
        A label per method that has a figure, best first.
    """
    finite = {
        name: {seed: value for seed, value in runs.items() if math.isfinite(value)}
        for name, runs in scores.items()
    }
    sign = 1 if better == "higher" else -1
    means = {name: sign * statistics.fmean(runs.values()) for name, runs in finite.items() if runs}
    order = sorted(means, key=lambda name: -means[name])
    place = dict.fromkeys(order, 1)
    untested = set()
    for name in order:
        for other in order:
            if other == name:
                continue
            verdict = _surely_better(finite[other], finite[name], sign)
            if verdict is None:
                untested.add(name)
                verdict = means[other] > means[name]
            place[name] += verdict
    shared = [name for name in order if list(place.values()).count(place[name]) > 1]
    return {
        name: f"{place[name]}{'=' if name in shared else ''}{'?' if name in untested else ''}"
        for name in sorted(order, key=lambda name: (place[name], -means[name]))
    }


def _surely_better(a: Mapping[int, float], b: Mapping[int, float], sign: int) -> bool | None:
    """Say whether ``a`` beats ``b`` over the seeds both have; ``None`` if untestable."""
    differences = summarise(sign * (a[seed] - b[seed]) for seed in a.keys() & b.keys())
    if differences is None or differences.low is None:
        return None
    return differences.low > 0

"""What explains the spread of scores, and what a reader should conclude from them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dpbench.leaderboard.candidates import PRIMARY, Candidate
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.starts import gains
from dpbench.results import CONTROL, Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Explanation", "Share", "explain"]

#: What may explain a trial's score: column and how a reader calls it.
FACTORS = {
    "public": "public model",
    "extractor": "extractor",
    "generator": "generator",
    "epsilon": "epsilon",
    "clip": "clip",
    "seed": "seed",
}


@dataclass(frozen=True)
class Share:
    """The share of the variance of log FID that one factor accounts for, in ``[0, 1]``."""

    factor: str
    share: float


@dataclass(frozen=True)
class Explanation:
    """Shares of the variance, largest first, and plain sentences.

    Attributes:
        trials: how many trials they rest on.
        shares: of each factor, and of interactions and noise: together 1.
    """

    title: str
    trials: int
    shares: tuple[Share, ...]
    sentences: tuple[str, ...]


def explain(section: Section) -> Explanation:
    """Explain the scores of one section: one data set, settings and protocol."""
    scored = [r for r in section.trials if r.status == "ok" and r.metrics.get(PRIMARY, 0) > 0]
    sentences = (
        *_best(section),
        *_edges(section),
        *_bounds(section),
        *_starts(section),
    )
    return Explanation(section.title, len(scored), tuple(_shares(scored)), sentences)


def _shares(results: Sequence[Result]) -> Iterator[Share]:
    """Yield each factor's part of the variance that an additive model explains.

    A factor's part is the average of what it adds, over all orders in which factors may be
    added (Shapley; Lindeman, Merenda and Gold 1980): a public model and its only extractor
    share what neither alone explains.
    """
    if len(results) < 3:
        return
    y = np.log([result.metrics[PRIMARY] for result in results])
    total = float(((y - y.mean()) ** 2).sum())
    levels = {name: [getattr(result, name) for result in results] for name in FACTORS}
    varied = [name for name, values in levels.items() if len(set(values)) > 1]
    if total == 0 or not varied:
        return
    fit = _Additive(y - y.mean(), {name: levels[name] for name in varied})
    left = {
        frozenset(names): fit.residual(names) / total
        for size in range(len(varied) + 1)
        for names in itertools.combinations(varied, size)
    }
    parts = [Share(FACTORS[name], _part(name, varied, left)) for name in varied]
    yield from sorted(parts, key=lambda share: -share.share)
    yield Share("interactions and noise", left[frozenset(varied)])


def _part(name: str, varied: Sequence[str], left: Mapping[frozenset[str], float]) -> float:
    """Return the average of what ``name`` explains when it joins others."""
    others = [other for other in varied if other != name]
    return sum(
        (left[frozenset(names)] - left[frozenset((*names, name))])
        / (len(varied) * math.comb(len(others), size))
        for size in range(len(others) + 1)
        for names in itertools.combinations(others, size)
    )


class _Additive:
    """Additive models of ``y``, whose mean is zero, by some of the factors.

    The products of all columns are formed once: every model needs a part of them.
    """

    def __init__(self, y: NDArray[np.float64], factors: Mapping[str, Sequence[object]]) -> None:
        columns, self._owners = [], []
        for name, values in factors.items():
            for level in sorted(set(values), key=repr)[1:]:
                column = np.array([float(value == level) for value in values])
                columns.append(column - column.mean())
                self._owners.append(name)
        design = np.array(columns).T
        self._squares, self._products = design.T @ design, design.T @ y
        self._total = float(y @ y)

    def residual(self, names: Sequence[str]) -> float:
        """Return the sum of squares that the factors ``names``, added up, leave unexplained."""
        kept = [number for number, owner in enumerate(self._owners) if owner in names]
        products = self._products[kept]
        solution = np.linalg.lstsq(self._squares[np.ix_(kept, kept)], products, rcond=1e-10)[0]
        return max(self._total - float(products @ solution), 0.0)


def _best(section: Section) -> Iterator[str]:
    """Name the best method at each target, by how much it is, and whether ranks are sure of it."""
    for target in section.targets:
        labels = section.ranks(target)  # best first
        chosen = [c for method in labels if (c := section.chosen(method, target))]
        if len(chosen) < 2:
            continue
        first, second = chosen[:2]
        more = "more FID"
        if (least := _mean(first)) > 0:  # of no FID at all nothing is a share
            more = f"{_mean(second) / least - 1:.0%} {more}"
        sure = "surely" if labels[first.method] == "1" else "not surely"
        if len(first.seeds(PRIMARY).keys() & second.seeds(PRIMARY).keys()) < 2:
            sure = "with one seed, so untested"
        yield (
            f"At {section.target_text(target)} {first.method} is best: {second.method} has "
            f"{more} ({sure})."
        )


def _edges(section: Section) -> Iterator[str]:
    """Say where the best clip is the tightest or the loosest that was tried."""
    found: dict[str, list[str]] = {}
    for method in section.methods:
        for target in section.targets:
            clips = sorted({c.clip for c in section.among(method, target) if c.clip})
            best = section.chosen(method, target)
            if best is None or len(clips) < 3 or not target.private:
                continue
            side = {clips[0]: "tightest", clips[-1]: "loosest"}.get(best.clip or 0)
            if side:
                place = f"{section.target_text(target)} (clip {best.clip:g}, the {side})"
                found.setdefault(method, []).append(place)
    for method, places in found.items():
        yield f"The clip sweep is too narrow for {method} at {', '.join(places)}."


def _bounds(section: Section) -> Iterator[str]:
    """Say which stage costs most: reconstruction, the generator without noise, or privacy."""
    floors = {
        (c.public, c.extractor): c.metrics[PRIMARY]
        for c in section.controls
        if c.method == f"{CONTROL}reconstruction" and c.metrics.get(PRIMARY)
    }
    free = next((t for t in section.targets if not t.private), None)
    for target in section.targets:
        counts: dict[str, list[str]] = {}
        for method in section.methods:
            here = section.chosen(method, target)
            nonprivate = section.chosen(method, free) if free else None
            if here is None or nonprivate is None or not target.private:
                continue
            row = here.results[0]
            floor = floors.get((row.public, row.extractor), math.nan)
            costs = {
                "reconstruction": floor,
                "the generator": _mean(nonprivate) - floor,
                "privacy": _mean(here) - _mean(nonprivate),
            }
            if not any(math.isnan(cost) for cost in costs.values()):
                counts.setdefault(max(costs, key=lambda name: costs[name]), []).append(method)
        for stage, methods in counts.items():
            yield (
                f"At {section.target_text(target)} {stage} costs most of the FID of "
                f"{', '.join(methods)}."
            )


def _starts(section: Section) -> Iterator[str]:
    """Say whether training improves on a released start, where both stand in the table."""
    for gain in gains(section):
        if gain.control_score.mean <= 0:
            continue
        ratio = gain.score.mean / gain.control_score.mean
        yield (
            f"At {section.target_text(gain.target)} {gain.method} has {ratio:.0%} of the FID of "
            f"{gain.control} ({gain.verdict})."
        )


def _mean(candidate: Candidate) -> float:
    seeds = candidate.seeds(PRIMARY)
    return sum(seeds.values()) / len(seeds) if seeds else math.nan

"""Which trials moved between two sets of results, regressions first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from dpbench.analysis.tables import figure_column, read_table
from dpbench.errors import DpbenchError
from dpbench.metrics.uncertainty import Pair, compare_pairs

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Change", "compare", "protocol_differences"]

#: What a trial is called on both sides; axes too, and settings unless a grid was named.
KEYS = (
    "method", "dataset", "labels", "epsilon", "noise_multiplier", "delta", "clip", "protocol.name",
)  # fmt: skip
#: Of a protocol, what does not decide what a figure means.
APART = ("protocol.metric", "protocol.test_accuracy")
Verdict = Literal["worse", "better", "unsure", "untested", "equal"]
_ORDER: tuple[Verdict, ...] = ("worse", "untested", "unsure", "better", "equal")


@dataclass(frozen=True)
class Change:
    """One trial, with all its seeds, before and after.

    Attributes:
        trial: what names it: method, data set, labels, target, clip, protocol, swept parameters.
        seeds: how many both sides have.
        before: mean figure over those.
        after: the same.
        verdict: at 95% for all trials together; ``untested`` with one seed,
            ``equal`` where all seeds agree to the last bit.
    """

    trial: Mapping[str, Any]
    seeds: int
    before: float
    after: float
    verdict: Verdict

    @property
    def ratio(self) -> float:
        """After, as a share of before."""
        return self.after / self.before if self.before else math.nan


def compare(
    first: str, second: str, figure: str, better: str, across_protocols: bool = False
) -> list[Change]:
    """Compare the trials that two sources have in common, regressions first.

    Args:
        first, second: see :func:`~dpbench.analysis.tables.read_table`.
        figure: the column of a metric.
        better: ``"higher"`` or ``"lower"``.
        across_protocols: compare figures of unlike protocols all the same.

    Raises:
        DpbenchError: a source cannot be read or has a trial twice, no trial is in both, or
            protocols of one name differ.
    """
    before, after = read_table(first), read_table(second)
    unlike = protocol_differences(before, after)
    if unlike and not across_protocols:
        raise DpbenchError(
            f"scored under different protocols: {'; '.join(unlike)}; score both with the same, "
            "or compare with --across-protocols"
        )
    named = ":" in first or ":" in second
    keys = [*KEYS, *(() if named else ("settings",)), *_axes(before, after)]
    sides = [
        _by_trial(source, table, keys, figure_column(table, figure))
        for source, table in ((first, before), (second, after))
    ]
    common = [trial for trial in sides[0] if trial in sides[1]]
    if not common:
        raise DpbenchError(f"no trial is in both {first} and {second}")
    trials = [(("after", "before"), sides[1][t], sides[0][t]) for t in common]
    pairs = compare_pairs(trials, len(trials))
    sign = 1 if better == "higher" else -1
    changes = [
        _change(dict(zip(keys, trial, strict=True)), sides[0][trial], sides[1][trial], pair, sign)
        for trial, pair in zip(common, pairs, strict=True)
    ]
    return sorted(changes, key=lambda c: (_ORDER.index(c.verdict), sign * (c.ratio - 1)))


def _axes(*tables: DataFrame) -> list[str]:
    named = {str(column) for table in tables for column in table}
    return sorted(column for column in named if column.startswith("axes."))


def _by_trial(
    source: str, table: DataFrame, keys: list[str], column: str
) -> dict[Any, dict[int, float]]:
    found: dict[Any, dict[int, float]] = {}
    trials = table[~table["method"].str.startswith("control:")]
    trials = trials[trials[column].notna()].reindex(columns=[*keys, "seed", column])
    # With the noise given, epsilon is an outcome and must not name the trial.
    trials["epsilon"] = trials["epsilon"].where(trials["noise_multiplier"].isna())
    for row in trials.astype(object).where(trials.notna(), None).itertuples(index=False):
        *trial, seed, value = row
        by_seed = found.setdefault(tuple(trial), {})
        if (seed := int(seed or 0)) in by_seed:
            raise DpbenchError(_twice(source, table, trial[0], seed))
        by_seed[seed] = float(value)
    return found


def _twice(source: str, table: DataFrame, method: str, seed: int) -> str:
    settings = sorted(table[table["method"] == method]["settings"].unique())
    remedy = "leave one of the rows out"
    if len(settings) > 1:
        remedy = f"put its settings behind the colon, not a grid ({', '.join(settings)})"
    return f"{source} has {method} with seed {seed} twice: {remedy}"


def _change(
    trial: dict[str, Any],
    before: Mapping[int, float],
    after: Mapping[int, float],
    pair: Pair,
    sign: int,
) -> Change:
    common = sorted(before.keys() & after.keys())
    means = [sum(side[s] for s in common) / len(common) if common else math.nan
             for side in (before, after)]  # fmt: skip
    verdict: Verdict = "unsure"
    if common and all(before[seed] == after[seed] for seed in common):
        verdict = "equal"
    elif pair.p is None:
        verdict = "untested"
    elif pair.surely:
        verdict = "better" if pair.winner(sign) == "after" else "worse"
    shown = {name: value for name, value in trial.items() if value is not None}
    return Change(shown, len(common), means[0], means[1], verdict)


def protocol_differences(first: DataFrame, second: DataFrame) -> list[str]:
    """Say in what protocols of one name, on one data set, differ between two tables."""
    named = {str(column) for table in (first, second) for column in table}
    columns = sorted(c for c in named if c.startswith("protocol.") and not c.startswith(APART))
    sides = [_protocols(table, columns) for table in (first, second)]
    found = []
    for place in sorted(sides[0].keys() & sides[1].keys()):
        for column in columns:
            values = [side[place].get(column, set()) for side in sides]
            if values[0] and values[1] and values[0] != values[1]:
                told = " against ".join("/".join(sorted(v))[:40] for v in values)
                found.append(f"{place[1]} on {place[0]}: {column.removeprefix('protocol.')} {told}")
    return found


def _protocols(table: DataFrame, columns: list[str]) -> dict[tuple[str, str], dict[str, set[str]]]:
    found: dict[tuple[str, str], dict[str, set[str]]] = {}
    here = [column for column in columns if column in table]
    for (dataset, name), rows in table.groupby(["dataset", "protocol.name"]):
        told = {c: {str(v) for v in rows[c].dropna().unique()} for c in here}
        found[str(dataset), str(name)] = told
    return found

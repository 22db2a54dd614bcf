"""What moves where another machine makes the same leaderboard from nothing?

    python benchmarks/another_machine.py leaderboard/results.csv runs/board \\
        [--write benchmarks/another_machine.md]

Two processors round otherwise, and so train other public models, evaluators and generators from
the same seeds. Both sources are a runs directory or a results.csv; trials are paired by seed.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path

from common import command, machine, publish, table
from pandas import DataFrame

from dpbench.analysis.compare import compare
from dpbench.analysis.tables import read_table

TRIAL = ["method", "generator", "dataset", "settings", "epsilon", "clip", "seed", "protocol.name"]
FID = "metrics.fid"
SHARES = (0.1, 0.15, 0.3, 0.5)
"""Differences, as shares of the first figure, beyond which trials are counted."""


def ratios(first: DataFrame, second: DataFrame) -> DataFrame:
    """Return the trials of both with ``ratio``, the second FID over the first."""
    sides = [t.loc[~t["method"].str.startswith("control:"), [*TRIAL, FID]] for t in (first, second)]
    both = sides[0].merge(sides[1], on=TRIAL, suffixes=("", ".again")).dropna(subset=FID)
    return both.assign(ratio=both[f"{FID}.again"] / both[FID])


def spread(both: DataFrame) -> list[str]:
    """Return a table with a row for each generator and ε: how single trials scatter."""
    rows = []
    groups = [*both.groupby(["generator", "epsilon"]), (("all", 0), both)]
    for (generator, epsilon), group in groups:
        logs = group["ratio"].map(math.log)
        beyond = [f"{((group['ratio'] - 1).abs() > share).mean():.0%}" for share in SHARES]
        target = f" at ε = {epsilon:g}" if epsilon else ""
        figures = [f"{group['ratio'].median():.3f}", f"{logs.std():.3f}", *beyond]
        rows.append([f"{generator}{target}", len(group), *figures])
    heads = ["generator", "trials", "median ratio", "spread", *(f"> {s:.0%}" for s in SHARES)]
    return table(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("first", help="results of one machine")
    parser.add_argument("second", help="those of this one")
    parser.add_argument("--write", type=Path, help="file to write")
    options = parser.parse_args()
    both = ratios(read_table(options.first), read_table(options.second))
    changes = compare(options.first, options.second, "fid", "lower", across_protocols=True)
    verdicts = Counter(change.verdict for change in changes)
    sure = [c for c in changes if c.verdict in ("worse", "better")]
    named = [f"{c.trial['method']}@{c.trial['epsilon']:g} on {c.trial['dataset']}" for c in sure]
    off = [abs(math.log(change.ratio)) for change in changes]
    far = max(changes, key=lambda change: abs(math.log(change.ratio)))
    lines = ["# The same leaderboard from another machine", "", f"`{command()}`  ", machine(), ""]
    lines += [
        f"Means over seeds: {len(changes)} in common, {verdicts['worse']} surely worse and "
        f"{verdicts['better']} surely better at 95% for all together; typically "
        f"{math.exp(sorted(off)[len(off) // 2]) - 1:.1%} apart, at most by a factor of "
        f"{math.exp(max(off)):.2f} ({far.trial['method']}, {far.trial['dataset']}, "
        f"ε = {far.trial['epsilon']:g}).",
        "",
        *table(
            ["surely another", "ratio"], zip(named, (f"{c.ratio:.3f}" for c in sure), strict=True)
        ),
        "",
        "Single trials: ratio of FID, standard deviation of its logarithm, and how many are "
        "further off than a share of the first figure.",
        "",
    ]
    publish([*lines, *spread(both)], options.write)


if __name__ == "__main__":
    main()

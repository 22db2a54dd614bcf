"""What each lever of the private generators gives, from the rows of two grids of settings.

    python benchmarks/levers.py --runs runs-levers [--write benchmarks/levers.md]

The commands at the heads of levers.toml and more_levers.toml fill the directory. FID is a share
of that of the public images; a difference is to the defaults, paired over seeds, with its 95%
interval (Student's t).
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from common import command, machine, publish, table
from scipy.stats import t as student

from dpbench.leaderboard import load
from dpbench.results import Result

BASES = {"GAN": "ae-grad-GAN", "VAE": "ae-grad-VAE", "Flow": "ae-grad-Flow"}
Shares = dict[tuple[str, float, float], dict[int, float]]
"""Shares by seed, of a method at ε and clip."""


def shares(results: Iterable[Result]) -> Shares:
    """Read the FID of finished trials as shares of the public images'."""
    rows = list(results)
    (public,) = {r.metrics["fid"] for r in rows if r.method == "control:public-images"}
    found: Shares = defaultdict(dict)
    for r in rows:
        if r.status == "ok" and r.seed is not None and r.epsilon is not None and r.clip is not None:
            found[r.method, r.epsilon, r.clip][r.seed] = r.metrics["fid"] / public
    return found


def difference(tried: dict[int, float], default: dict[int, float]) -> str:
    """Return the mean of paired differences with half the width of its interval."""
    apart = [tried[seed] - default[seed] for seed in tried.keys() & default.keys()]
    mean = statistics.fmean(apart)
    if len(apart) < 2:
        return f"{mean:+.3f}"
    half = student.ppf(0.975, len(apart) - 1) * statistics.stdev(apart) / len(apart) ** 0.5
    return f"{mean:+.3f} ± {half:.3f}"


def levers(found: Shares, base: str, epsilons: list[float]) -> list[str]:
    """Return a table with a row for each setting that was changed, at clip 1."""
    start = base.lower() + "-"
    names = sorted({method for method, _, clip in found if method.startswith(start) and clip == 1})
    epsilons = [e for e in epsilons if any((name, e, 1.0) in found for name in names)]
    rows = [["(defaults)", *(_mean(found.get((base, e, 1.0), {})) for e in epsilons)]]
    for name in names:
        cells = [name.removeprefix(start)]
        for epsilon in epsilons:
            tried = found.get((name, epsilon, 1.0))
            default = found.get((base, epsilon, 1.0))
            cells.append(difference(tried, default) if tried and default else "–")
        rows.append(cells)
    return table(["setting", *(f"ε = {e:g}" for e in epsilons)], rows)


def clips(found: Shares, epsilons: list[float]) -> list[str]:
    """Return a table of shares over the clip, for the defaults."""
    tried = sorted({clip for method, _, clip in found if method in BASES.values()})
    rows = [
        [f"{name}, ε = {e:g}", *(_mean(found.get((base, e, clip), {})) for clip in tried)]
        for name, base in BASES.items()
        for e in epsilons
        if sum((base, e, clip) in found for clip in tried) > 1
    ]
    return table(["clip", *(f"{clip:g}" for clip in tried)], rows)


def _mean(by_seed: dict[int, float]) -> str:
    if not by_seed:
        return "–"
    spread = f" ± {statistics.stdev(by_seed.values()):.3f}" if len(by_seed) > 1 else ""
    return f"{statistics.fmean(by_seed.values()):.3f}{spread}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--write", type=Path, help="file to write")
    options = parser.parse_args()
    found = shares(load(options.runs).results)
    epsilons = sorted({e for method, e, _ in found if method in BASES.values()}, reverse=True)
    seeds = max(len(by_seed) for by_seed in found.values())
    lines = ["# What each lever gives", "", f"`{command()}`  ", machine(), ""]
    lines += [
        f"MNIST, `ae-grad`, clip 1, up to {seeds} seeds, shares of the public images' FID: the"
        " defaults' mean ± standard deviation; below it differences to them, paired over seeds,"
        " with 95% intervals; one without is of one seed. Of as many comparisons one in twenty"
        " errs."
    ]
    for name, base in BASES.items():
        if any(method == base for method, _, _ in found):
            lines += ["", f"## {name}", "", *levers(found, base, epsilons)]
    publish([*lines, "", "## Clips", "", *clips(found, epsilons)], options.write)


if __name__ == "__main__":
    main()

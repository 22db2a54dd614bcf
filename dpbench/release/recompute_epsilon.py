"""Recompute epsilon from an exported ledger, without dpbench.

    dpbench statement METHOD --format json | python recompute_epsilon.py -
    python recompute_epsilon.py runs/results/*.json

Needs dp-accounting and the standard library alone. Each file holds a result, a
statement, or a list of them. Every ledger is composed anew by privacy loss
distributions (an upper bound); exit code 1 where a stated epsilon differs by over 1%.
"""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dp_accounting.pld import privacy_loss_distribution as pld

Uses = dict[tuple[float, float], int]
"""How often a noise multiplier was used at a sampling rate."""
TOLERANCE = 0.01
SETTLED = 0.001


def read(document: Any) -> Iterator[tuple[str, float, float, Uses]]:
    """Yield title, stated epsilon, delta and uses of every ledger in a document."""
    if isinstance(document, list):
        for entry in document:
            yield from read(entry)
        return
    private = document.get("privacy") or document  # a result, else a statement
    ledger = private.get("ledger")
    if not ledger or not ledger.get("mechanisms"):
        return
    uses: Uses = {}
    for mechanism in ledger["mechanisms"]:
        key = (float(mechanism["noise_multiplier"]), float(mechanism.get("sampling_rate", 1)))
        uses[key] = uses.get(key, 0) + int(mechanism.get("count", 1))
    spent = private.get("spent") or document
    title = document.get("title") or document.get("method", "")
    yield title, float(spent["epsilon"]), float(spent["delta"]), uses


def composed(uses: Uses, delta: float, interval: float) -> float:
    """Return epsilon of Poisson-subsampled Gaussians, one record replaced by a null record."""
    parts = [
        pld.from_gaussian_mechanism(
            sigma, sampling_prob=rate, value_discretization_interval=interval
        ).self_compose(count)
        for (sigma, rate), count in uses.items()
    ]
    total = functools.reduce(lambda left, right: left.compose(right), parts)
    return float(total.get_epsilon_for_delta(delta))


def recompute(uses: Uses, delta: float) -> float:
    """Return epsilon, on ever finer meshes until it has settled."""
    if any(sigma == 0 for sigma, _ in uses):
        return math.inf
    interval = 1e-2
    coarse = composed(uses, delta, interval)
    while interval > 1e-6:
        interval /= 4
        fine = composed(uses, delta, interval)
        if abs(coarse - fine) <= SETTLED * fine:
            return fine
        coarse = fine
    return coarse


def agrees(stated: float, found: float) -> bool:
    close = math.isfinite(found) and abs(stated - found) <= TOLERANCE * found
    return stated == found or close


def main(paths: list[str]) -> int:
    if not paths:
        print(__doc__)
        return 2
    wrong = 0
    for path in paths:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
        for title, stated, delta, uses in read(json.loads(text)):
            found = recompute(uses, delta)
            verdict = "agrees" if agrees(stated, found) else "DIFFERS"
            wrong += verdict == "DIFFERS"
            print(
                f"{verdict}: stated {stated:.5g}, recomputed {found:.5g}, delta {delta:g}: {title}"
            )
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

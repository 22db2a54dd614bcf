"""What it costs to look at several private scores and keep the best trial."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence

import numpy as np

from dpbench.leaderboard.sections import Candidate
from dpbench.privacy.accounting import Uses, uses_of
from dpbench.privacy.ledger import Mechanism

__all__ = ["selection_epsilon"]


def selection_epsilon(candidates: Sequence[Candidate]) -> float | None:
    """Return the epsilon of having trained every candidate, at the trials' own delta.

    The ledgers of all trials with a score, all seeds included, are composed as
    one, by Renyi DP: an upper bound that takes milliseconds. ``None`` where
    there was nothing to choose from, or a ledger is missing.
    """
    if len(candidates) < 2:
        return None
    looked_at = [r for candidate in candidates for r in candidate.results if r.metrics]
    mechanisms: list[Mechanism] = []
    for result in looked_at:
        ledger = result.privacy.get("ledger", {}).get("mechanisms")
        if not ledger:
            return None
        mechanisms += map(Mechanism.model_validate, ledger)
    delta = candidates[0].target.delta
    return _renyi_epsilon(uses_of(mechanisms), delta) if mechanisms and delta else None


@functools.lru_cache(maxsize=1024)
def _renyi_epsilon(uses: Uses, delta: float) -> float:
    from opacus.accountants import RDPAccountant
    from opacus.accountants.analysis.rdp import compute_rdp, get_privacy_spent

    if any(noise == 0 for noise, _, _ in uses):
        return math.inf
    orders = RDPAccountant.DEFAULT_ALPHAS
    each = [
        compute_rdp(q=rate, noise_multiplier=noise, steps=count, orders=orders)
        for noise, rate, count in uses
    ]
    total = np.sum(each, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "optimal order is the largest alpha"
        epsilon, _ = get_privacy_spent(orders=orders, rdp=total, delta=delta)
    return float(epsilon)

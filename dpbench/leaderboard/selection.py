"""What it costs to look at several private scores and keep the best trial."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dpbench.errors import DpbenchError
from dpbench.leaderboard.sections import Candidate
from dpbench.privacy.accounting import compose
from dpbench.privacy.ledger import Mechanism

__all__ = ["selection_epsilon"]


def selection_epsilon(candidates: Sequence[Candidate]) -> float | None:
    """Return the epsilon of having trained every candidate, at the trials' own delta.

    The ledgers of all trials that were looked at, all seeds included, are
    composed as one. ``None`` where a ledger is missing.
    """
    results = [result for candidate in candidates for result in candidate.results]
    looked_at = [result for result in results if result.metrics]
    deltas = {result.delta for result in looked_at}
    if len(deltas) != 1 or None in deltas:
        return None
    mechanisms: list[Mechanism] = []
    for result in looked_at:
        ledger = result.privacy.get("ledger", {}).get("mechanisms")
        if not ledger:
            return None
        mechanisms += map(Mechanism.model_validate, ledger)
    if any(mechanism.noise_multiplier == 0 for mechanism in mechanisms):
        return math.inf
    try:
        return compose(mechanisms, deltas.pop() or 0.0).epsilon
    except DpbenchError:
        return None

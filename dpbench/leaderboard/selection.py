"""What it costs to look at several private scores and keep the best trial."""

from __future__ import annotations

from collections.abc import Sequence

from dpbench.leaderboard.sections import Candidate
from dpbench.privacy.selection import composed_epsilon

__all__ = ["selection_epsilon"]


def selection_epsilon(candidates: Sequence[Candidate]) -> float | None:
    """Return the epsilon of having trained every candidate, at the trials' own delta.

    The ledgers of all trials with a score, all seeds included, are composed as
    one. ``None`` where there was nothing to choose from, or a ledger is missing.
    """
    if len(candidates) < 2:
        return None
    looked_at = [r for candidate in candidates for r in candidate.results if r.metrics]
    ledgers = [r.privacy.ledger.mechanisms if r.privacy else [] for r in looked_at]
    delta = candidates[0].target.delta
    return composed_epsilon(ledgers, delta) if ledgers and all(ledgers) and delta else None

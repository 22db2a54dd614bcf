"""Whether what a trial did keeps within what it was allowed."""

from __future__ import annotations

import math
from typing import Any

from dpbench.privacy.ledger import Ledger, check_inclusions

__all__ = ["privacy_problem"]

#: Accountants work on grids; this much above the target is their rounding.
TOLERANCE = 1e-3


def privacy_problem(
    ledger: dict[str, Any], spent: dict[str, Any], epsilon: float | None
) -> str | None:
    """Return why a trial counts as over budget, or ``None``.

    ``epsilon`` is the target, ``None`` where the noise was given instead. A
    ledger whose record of inclusions contradicts its sampling rates understates
    what was spent, by an unknown amount.
    """
    used = float(spent["epsilon"])
    if epsilon is not None and not math.isinf(epsilon) and used > epsilon * (1 + TOLERANCE):
        return f"spent epsilon {used:.4g} of a budget of {epsilon:g}"
    return next(iter(check_inclusions(Ledger.model_validate(ledger))), None)

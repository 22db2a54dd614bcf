"""Choose a test of two worlds' scores on some runs; count on others what it gets right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Bound", "Counts", "ThresholdTest", "best_test"]


@dataclass(frozen=True)
class Counts:
    """``hits`` of ``positives`` runs passed a test, ``alarms`` of ``negatives`` should not have."""

    hits: Any
    positives: int
    alarms: Any
    negatives: int


Bound = Callable[[Counts], Any]
"""Maps counts, each a number or an array, to what they bound: epsilon, or mu."""


@dataclass(frozen=True)
class ThresholdTest:
    """``sign`` +1 bets on "in" above the threshold; -1 bets on "out" below it."""

    threshold: float
    sign: int

    def count(self, present: Tensor, absent: Tensor) -> Counts:
        """Apply the test to the scores of runs with the canary and of runs without it."""
        likely, unlikely = (present, absent) if self.sign > 0 else (absent, present)
        hits, alarms = (
            int((self.sign * (scores.double() - self.threshold) > 0).sum())
            for scores in (likely, unlikely)
        )
        return Counts(hits, len(likely), alarms, len(unlikely))


def best_test(present: Tensor, absent: Tensor, bound: Bound) -> tuple[float, ThresholdTest]:
    """Return the largest ``bound`` that a threshold reaches on these runs, and that test.

    Thresholds lie midway between neighbouring scores. Ties go to the threshold
    nearest the middle of the scores.
    """
    present, absent = present.double().sort().values, absent.double().sort().values
    values = torch.cat([present, absent]).sort().values
    cuts = ((values[1:] + values[:-1]) / 2).unique()
    cuts = cuts[(cuts - values.median()).abs().argsort(stable=True)]
    below = [torch.searchsorted(world, cuts) for world in (present, absent)]
    upto = [torch.searchsorted(world, cuts, right=True) for world in (present, absent)]
    best = (-1.0, ThresholdTest(0.0, 1))
    for sign, hits, alarms, worlds in (
        (1, len(present) - upto[0], len(absent) - upto[1], (present, absent)),
        (-1, below[1], below[0], (absent, present)),
    ):
        found = bound(Counts(hits.numpy(), len(worlds[0]), alarms.numpy(), len(worlds[1])))
        at = int(found.argmax())
        if found[at] > best[0]:
            best = (float(found[at]), ThresholdTest(float(cuts[at]), sign))
    return best

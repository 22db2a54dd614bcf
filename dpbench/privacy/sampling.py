"""Poisson sampling: every record joins every step's batch on its own with probability q.

Batches are drawn by geometric skipping. Seen as one row of ``steps * size``
Bernoulli(q) trials, the gaps between successes are independent
``floor(log U / log(1 - q)) + 1`` with U uniform on (0, 1]; their running sum, in
float64, gives the successes at a cost of O(q * size) per step instead of O(size).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dpbench.privacy.randomness import NoiseSource

__all__ = ["BLOCK_STEPS", "InclusionCounter", "PoissonBlock", "PoissonSampler"]

BLOCK_STEPS = 32
"""Steps drawn at once; fixed, so that a trial's draws do not depend on what runs beside it."""

_LARGEST_EXACT = 2**52


@dataclass(frozen=True)
class PoissonBlock:
    """The batches of several consecutive steps.

    ``records`` int64 ``[total]`` lists record indices, step after step;
    ``counts`` int64 ``[steps]`` says how many belong to each step.
    """

    records: Tensor
    counts: Tensor

    def padded(self, width: int) -> Tensor:
        """Return ``[steps, width]`` indices, each row filled up with record 0."""
        steps = len(self.counts)
        out = self.records.new_zeros(steps, width)
        owner = torch.repeat_interleave(torch.arange(steps, device=out.device), self.counts)
        first = (self.counts.cumsum(0) - self.counts)[owner]
        rank = torch.arange(len(self.records), device=out.device) - first
        out[owner, rank] = self.records
        return out


class PoissonSampler:
    """Draws exact Poisson samples of ``range(size)`` at ``rate``, a block of steps at a time.

    Args:
        size: number of records.
        rate: inclusion probability q in (0, 1]; at 1 every batch is everything.
        source: stream of this sampler alone.
        device: where indices live.
    """

    def __init__(
        self, size: int, rate: float, source: NoiseSource, device: torch.device | str = "cpu"
    ) -> None:
        if size < 1:
            raise ValueError(f"there must be at least one record, got {size}")
        if not 0 < rate <= 1:
            raise ValueError(f"a sampling rate lies in (0, 1], got {rate}")
        self.size = size
        self.rate = rate
        self._source = source
        self._device = device

    def block(self, steps: int) -> PoissonBlock:
        """Draw the next ``steps`` batches."""
        device = self._device
        if self.rate == 1:
            every = torch.arange(self.size, device=device).repeat(steps)
            return PoissonBlock(every, torch.full((steps,), self.size, device=device))
        trials = steps * self.size
        if trials > _LARGEST_EXACT:
            raise ValueError(f"{steps} steps over {self.size} records exceed float64's integers")
        successes = self._successes(trials)
        owner = torch.div(successes, self.size, rounding_mode="floor")
        return PoissonBlock(successes - owner * self.size, torch.bincount(owner, minlength=steps))

    def _successes(self, trials: int) -> Tensor:
        """Return the positions of successes among ``trials`` Bernoulli(q) trials."""
        mean = trials * self.rate
        draw = int(mean + 6 * math.sqrt(mean) + 16)
        parts: list[Tensor] = []
        last = -1.0
        while last < trials:
            uniform = self._source.uniform((draw,), self._device, torch.float64)
            gaps = torch.log1p(-uniform).div_(math.log1p(-self.rate)).floor_().add_(1)
            parts.append(gaps.cumsum(0).add_(last))
            last = float(parts[-1][-1])
            draw = draw // 8 + 16  # the rare shortfall is drawn, never cut off
        found = torch.cat(parts) if len(parts) > 1 else parts[0]
        return found[found < trials].long()


class InclusionCounter:
    """Counts how often each record was used, for the test of sampling against accounting.

    Under Poisson sampling the count of a record over T steps is Binomial(T, q),
    independent between records, and the size of a batch is Binomial(N, q),
    independent between steps. Three standard scores look at that: the total, the
    spread of the counts over records, and the spread of the batch sizes over steps.

    Args:
        size: number of records N of every lane.
        rates: each lane's inclusion probability.
        device: where the indices come from.
    """

    def __init__(
        self, size: int, rates: Sequence[float], device: torch.device | str = "cpu"
    ) -> None:
        self._size, self._rates = size, list(rates)
        lanes = len(self._rates)
        self._counts = torch.zeros(lanes, size, dtype=torch.int64, device=device)
        self._steps = torch.zeros(lanes, dtype=torch.int64, device=device)
        self._expected = torch.tensor(self._rates, dtype=torch.float64, device=device) * size
        self._squares = torch.zeros(lanes, dtype=torch.float64, device=device)

    def add(self, records: Tensor, included: Tensor) -> None:
        """Count one step of the leading A lanes, where its rows are used.

        ``records`` int64 ``[A, B]`` are the rows' records, ``included`` bool ``[A, B]``
        says which rows belong to the batch; the others are padding. Fixed shapes and
        addresses, so that a captured step can repeat it.
        """
        lanes = len(records)
        joined = included.long()
        self._counts[:lanes].scatter_add_(1, records, joined)
        self._steps[:lanes] += 1
        self._squares[:lanes] += (joined.sum(1) - self._expected[:lanes]).square()

    def figures(self, lane: int = 0) -> dict[str, float]:
        """Return what the ledger keeps; z-scores are N(0, 1) when sampling is as stated."""
        records, steps, rate = self._size, int(self._steps[lane]), self._rates[lane]
        counts = self._counts[lane]
        total = int(counts.sum())
        squares = float((counts.double() - steps * rate).square().sum())
        sizes = float(self._squares[lane])
        return {
            "sampling_rate": rate,
            "steps": float(steps),
            "records": float(records),
            "total": float(total),
            "z_total": _score(total, steps * records * rate, steps * records * rate * (1 - rate)),
            "z_dispersion": _spread_score(squares, records, steps, rate),
            "z_batch_variance": _spread_score(sizes, steps, records, rate),
        }


def _spread_score(squares: float, draws: int, trials: int, rate: float) -> float:
    """Standardise a sum of ``draws`` squared deviations of Binomial(``trials``, ``rate``).

    The fourth central moment of a binomial with variance v is
    ``3 v^2 + v (1 - 6 q (1 - q))``.
    """
    variance = trials * rate * (1 - rate)
    fourth = 3 * variance**2 + variance * (1 - 6 * rate * (1 - rate))
    return _score(squares, draws * variance, draws * (fourth - variance**2))


def _score(value: float, mean: float, variance: float) -> float:
    if variance <= 0:
        return 0.0 if value == mean else math.inf
    return (value - mean) / math.sqrt(variance)

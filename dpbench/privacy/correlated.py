"""DP-SGD with noise that is correlated over steps: banded matrix factorisation, amplified.

With G the sums of clipped gradients, one row a step, DP-SGD hands out ``G + z``. Here the
mechanism releases ``C G + z`` row by row, and what a step hands out is the row of
``C^-1 (C G + z) = G + C^-1 z``: noise of neighbouring steps partly cancels in the sums of
gradients that descent takes. C is lower triangular and Toeplitz with ``bands``
diagonals, and its columns have norm 1 (Choquette-Choo et al. 2023, "(Amplified) Banded
Matrix Factorization", arXiv 2306.08153).

Sampling is cyclic: record i is in group ``i % bands``, and step t draws a Poisson sample
at rate ``bands * q`` from group ``t % bands`` alone. A record can therefore join once in
``bands`` consecutive steps, a round. Columns of C that far apart have no row in common,
so that a round is, for any record, one Gaussian mechanism of sensitivity
``clip * |column| = clip``, on a Poisson sample at rate ``bands * q`` (their Theorem 4). The
ledger holds just that: ``ceil(steps / bands)`` uses. One band is plain DP-SGD.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.mechanism import GaussianUse, NotAccounted
from dpbench.privacy.randomness import NoiseSource
from dpbench.privacy.sampling import InclusionCounter, PoissonBlock, PoissonSampler

__all__ = [
    "CorrelatedLanes",
    "CorrelatedUse",
    "CyclicSampler",
    "RoundCounter",
    "square_root_bands",
    "with_bands",
]


def square_root_bands(bands: int) -> tuple[float, ...]:
    """Return the first column of C, ``bands`` coefficients of norm 1.

    They are those of the square root of the matrix of prefix sums, the Taylor coefficients
    ``binom(2 j, j) / 4^j`` of ``(1 - x)^(-1/2)``, cut off and scaled (the banded square
    root factorisation; Kalinin and Lampert 2024).
    """
    if bands < 1:
        raise DpbenchError(f"there must be at least one band, got {bands}")
    raw = [math.comb(2 * j, j) / 4**j for j in range(bands)]
    norm = math.sqrt(sum(c * c for c in raw))
    return tuple(c / norm for c in raw)


def with_bands(schedule: LaneSchedule, private: PrivateLatents, bands: int) -> LaneSchedule:
    """Return ``schedule`` with the noise at which its rounds use up what the ledger has left.

    ``sampling_rate`` stays the expected share of all records in a step.

    Raises:
        DpbenchError: a step would need more records than its group has, or there is not
            one whole round.
    """
    rate, rounds = _rounds(schedule, bands)
    return replace(schedule, noise_multiplier=private.noise_multiplier(rate, rounds))


def _rounds(schedule: LaneSchedule, bands: int) -> tuple[float, int]:
    """Return the rate at which a record joins a round, and the number of rounds."""
    if schedule.steps < bands:
        raise DpbenchError(f"{bands} bands: at least as many steps are needed")
    rate = bands * schedule.sampling_rate
    if rate > 1:
        raise DpbenchError(
            f"{bands} bands: a step sees one record in {bands}, but expects "
            f"{schedule.sampling_rate:.3g} of all: lower batch or bands"
        )
    return rate, math.ceil(schedule.steps / bands)


class CyclicSampler(PoissonSampler):
    """Draws step t's batch from the records of group ``t % bands``, each at ``rate``.

    Args:
        size: number of records, at least ``bands``.
        rate: with which a record joins the one step of a round in which it may.
        bands: number of groups.
    """

    def __init__(
        self,
        size: int,
        rate: float,
        bands: int,
        source: NoiseSource,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(size, rate, source, device)
        if size < bands:
            raise DpbenchError(f"{size} records cannot be split into {bands} groups")
        self._groups = [
            PoissonSampler(len(range(group, size, bands)), rate, source, device)
            for group in range(bands)
        ]
        self._turn = 0

    def block(self, steps: int) -> PoissonBlock:
        """Draw the next ``steps`` batches."""
        bands = len(self._groups)
        batches: dict[int, Tensor] = {}
        for first in range(min(bands, steps)):
            group = (self._turn + first) % bands
            turns = range(first, steps, bands)
            drawn = self._groups[group].block(len(turns))
            parts = (group + bands * drawn.records).split(drawn.counts.tolist())
            batches.update(zip(turns, parts, strict=True))
        self._turn += steps
        ordered = [batches[turn] for turn in range(steps)]
        counts = torch.tensor([len(batch) for batch in ordered], device=ordered[0].device)
        return PoissonBlock(torch.cat(ordered), counts)


class CorrelatedUse(GaussianUse):
    """``steps`` releases, of which every ``len(column)`` in a row are one accounted use.

    :meth:`release` takes a step's sum of clipped contributions, and hands out that sum
    with the noise ``C^-1 z``. Records must join as :meth:`sampler` draws them: only
    then can one join a single step of a round.

    Args:
        use: as the session entered it into the ledger, with one use a round; this
            takes its place.
        steps: number of releases, at most.
        column: first column of C, of norm 1 at most.
    """

    def __init__(self, use: GaussianUse, steps: int, column: Sequence[float]) -> None:
        super().__init__(
            use.mechanism,
            use._size,
            use.noise,
            use._sampling,
            use.evidence,
            use._tape,
            use.figures,
        )
        if not math.hypot(*column) <= 1 + 1e-9 or not column[0] > 0:
            raise DpbenchError(f"a column of C has norm 1 at most and starts above 0: {column}")
        if steps > use.mechanism.count * len(column):
            raise NotAccounted(f"{use.mechanism.name!r}: {steps} steps are more than its rounds")
        if use._tape is not None and len(column) > 1:
            raise DpbenchError(
                f"{use.mechanism.name!r}: correlated noise cannot be replayed, since a tape takes "
                "every release for a use of its own: replay with one band"
            )
        self._steps, self._column = steps, tuple(column)
        self._taken = 0
        self._sums: deque[Tensor] = deque(maxlen=len(column) - 1)
        self._handed: deque[Tensor] = deque(maxlen=len(column) - 1)

    def sampler(self, device: torch.device | str = "cpu") -> PoissonSampler:
        """Return the source of this use's batches: cyclic, at the accounted rate."""
        rate, bands = self.mechanism.sampling_rate, len(self._column)
        return CyclicSampler(self._size, rate, bands, self._sampling, device)

    def begin(self) -> None:
        """Announce the next release; the first of a round announces an accounted use.

        Raises:
            NotAccounted: all steps that were accounted have been announced.
        """
        if self._taken == self._steps:
            raise NotAccounted(
                f"{self.mechanism.name!r}: only {self._steps} private steps were accounted: "
                "ask for as many as will be taken"
            )
        if self._taken % len(self._column) == 0:
            super().begin()
        self._taken += 1
        self._open = True

    def release(self, total: Tensor, scratch: Tensor | None = None) -> Tensor:
        """Put ``total`` plus this step's row of ``C^-1 z`` in its place, and return it.

        Raises:
            NotAccounted: the release announced last was handed out already.
        """
        first, *later = self._column
        row = total * first  # of C G
        for weight, earlier in zip(later, self._sums, strict=False):
            row.add_(earlier, alpha=weight)
        row = super().release(row, scratch)
        for weight, earlier in zip(later, self._handed, strict=False):
            row.sub_(earlier, alpha=weight)
        row.div_(first)
        if later:
            self._sums.appendleft(total.clone())
            self._handed.appendleft(row)
        return total.copy_(row)


class RoundCounter(InclusionCounter):
    """Counts inclusions a round at a time: a round is a Poisson sample of all records.

    Steps after the last whole round are not counted.

    Args:
        size: number of records N of every lane.
        rates: with which a record joins a round, lane by lane.
        bands: steps of a round.
        device: where the indices come from.
    """

    def __init__(
        self, size: int, rates: Sequence[float], bands: int, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(size, rates, device)
        self._bands, self._turn = bands, 0
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, records: Tensor, included: Tensor) -> None:
        """Count one step of the leading A lanes; rows as for :class:`InclusionCounter`.

        Raises:
            DpbenchError: a record joins a step that is not its group's.
        """
        group = self._turn % self._bands
        if ((records % self._bands != group) & included).any():
            raise DpbenchError("a record joins a step of another group than its own")
        self._turn += 1
        self._waiting.append((records.clone(), included.clone()))
        if len(self._waiting) < self._bands:
            return
        lanes = len(records)  # lanes that left within the round have no whole one
        parts = [(r[:lanes], i[:lanes]) for r, i in self._waiting]
        self._waiting.clear()
        super().add(torch.cat([r for r, _ in parts], 1), torch.cat([i for _, i in parts], 1))


class CorrelatedLanes(DPSGDLanes):
    """:class:`~dpbench.privacy.lanes.DPSGDLanes` with noise correlated over ``bands`` steps.

    A schedule's ``noise_multiplier`` is that of a round: see :func:`with_bands`. Steps
    cannot be captured, and fits cannot be replayed. An audit follows its canaries in
    what steps hand out, as if their noise were independent: a valid score, though not
    the best.

    Args:
        bands: of C, the same for all lanes.
    """

    def __init__(
        self,
        params: LaneBuffer,
        privates: Sequence[PrivateLatents],
        schedules: Sequence[LaneSchedule],
        bands: int,
        name: str = "dp-sgd",
        view: Callable[[int, Tensor], Tensor] | None = None,
        labelled: bool = False,
    ) -> None:
        self._column = square_root_bands(bands)
        super().__init__(params, privates, schedules, name, view, labelled=labelled)
        rates = [_rounds(schedule, bands)[0] for schedule in schedules]
        self._counter = RoundCounter(self.size, rates, bands, params.flat.device)

    def _use(self, lane: int, name: str) -> GaussianUse:
        schedule = self._schedules[lane]
        rate, rounds = _rounds(schedule, len(self._column))
        mechanism = Mechanism(
            name=name,
            noise_multiplier=schedule.noise_multiplier,
            sampling_rate=rate,
            count=rounds,
            sensitivity=schedule.clip,
        )
        use = self._privates[lane]._session.use(mechanism, lambda: self._counter.figures(lane))
        return CorrelatedUse(use, schedule.steps, self._column)

"""DP-SGD for many trials at once: the private gradient of L lanes in one batched program.

A lane is one trial: its own Poisson samples, noise, clip, sampling rate and number
of steps. Per-sample gradient norms follow from the ghost-norm identity: for a
linear layer with input a and pre-activation gradient d, the squared norm of the
sample's gradient is ``|a|^2 |d|^2`` for the weights and ``|d|^2`` for the bias
(Goodfellow 2015), so no per-sample gradient is ever formed. A record may have
several rows (noise draws, augmentations): its gradient is then their sum, of squared
norm ``sum_ij (a_i . a_j + 1)(d_i . d_j)``, and is clipped as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.precision import fast_products, full_precision
from dpbench.privacy.accounting import noise_multiplier_for
from dpbench.privacy.contributions import beside_classes
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.mechanism import GaussianUse
from dpbench.privacy.randomness import SeededSource
from dpbench.privacy.sampling import BLOCK_STEPS, InclusionCounter, PoissonBlock

__all__ = [
    "DPSGDLanes",
    "LaneSchedule",
    "Traces",
    "clipped_sum",
    "release_noise",
]


Traces = Callable[[Tensor], Sequence[LinearTrace]]
"""Maps a batch ``[A, B, k]`` of A lanes to the layers' inputs and per-sample deltas.

A trace may have ``B * m`` rows, record by record: a record's gradient is the sum over its m.
"""


@dataclass(frozen=True)
class LaneSchedule:
    """How one lane uses its private data.

    Args:
        sampling_rate: probability with which each record joins a step, in (0, 1].
        steps: number of private gradients.
        clip: L2 bound on each record's gradient.
        noise_multiplier: noise standard deviation over ``clip``; 0 is not private.
    """

    sampling_rate: float
    steps: int
    clip: float
    noise_multiplier: float


def release_noise(private: PrivateLatents, share: float, releases: int) -> float:
    """Return the noise multiplier of each of ``releases`` full-data Gaussian releases.

    Together they cost ``share`` of the budget in the Gaussian scale (the sum of
    squared inverse noise multipliers), where composition is exact.
    """
    if not private.budget.private:
        return 0.0
    if private.budget.noise_multiplier is not None:
        raise DpbenchError(
            "a trial with a fixed noise multiplier has no budget to release a prior from: "
            "set prior = 'normal'"
        )
    single = noise_multiplier_for(private.budget.epsilon, private.budget.delta)
    return float(single * (releases / share) ** 0.5)


def clipped_sum(
    traces: Sequence[LinearTrace],
    clip: Tensor,
    weight: Tensor,
    out: LaneBuffer,
    may_wait: bool = True,
) -> Tensor:
    """Sum per-sample gradients, each scaled to an L2 norm of at most ``clip``, into ``out``.

    ``clip`` is ``[L, 1]``, ``weight`` ``[L, B]`` (0 leaves a row out). A row whose
    gradient is not finite adds nothing. Layers that no trace names keep what ``out``
    held. ``may_wait``: look whether there are such rows before removing them, which a
    captured step cannot. Returns the norms, ``[L, B]``.
    """
    norms = _norms(traces, weight.shape[1])
    finite = torch.isfinite(norms)
    factor = (clip / norms.clamp_min(1e-30)).clamp_max_(1).mul_(weight)
    factor = torch.where(finite, factor, 0).unsqueeze(-1)
    if not may_wait or not finite.all():
        traces = _without(~finite, traces)
    for trace in traces:
        scaled = trace.delta * _by_row(factor, trace)
        torch.bmm(trace.inputs.transpose(1, 2), scaled, out=out.weights[trace.layer])
        torch.sum(scaled, 1, keepdim=True, out=out.biases[trace.layer])
    return norms


def _without(rows: Tensor, traces: Sequence[LinearTrace]) -> Sequence[LinearTrace]:
    """Silence ``rows`` ``[L, B]``: zero times an infinite entry is not zero."""
    kept = []
    for trace in traces:
        gone = _by_row(rows.unsqueeze(-1), trace)
        inputs, delta = trace.inputs.masked_fill(gone, 0), trace.delta.masked_fill(gone, 0)
        kept.append(LinearTrace(trace.layer, inputs, delta))
    return kept


def _norms(traces: Sequence[LinearTrace], records: int) -> Tensor:
    """Return the norm of each record's gradient over all layers, ``[L, records]``."""
    if not traces:
        raise ValueError("a gradient needs at least one layer")
    squares = _squares(traces[0], records)
    for trace in traces[1:]:
        squares.add_(_squares(trace, records))
    norms: Tensor = squares.sqrt_()
    return norms


def _squares(trace: LinearTrace, records: int) -> Tensor:
    """Return the squared norm of each record's gradient in one layer, ``[L, records]``."""
    wide = torch.linalg.vector_norm(trace.inputs, dim=-1).square_().add_(1)
    rows: Tensor = torch.linalg.vector_norm(trace.delta, dim=-1).square_().mul_(wide)
    if rows.shape[1] == records:
        return rows
    inputs, delta = (x.unflatten(1, (records, -1)) for x in (trace.inputs, trace.delta))
    gram = (inputs @ inputs.mT).add_(1).mul_(delta @ delta.mT).sum((2, 3))
    # Rows may cancel: rounding must not make the sum look shorter than it is.
    slack = rows.sqrt_().unflatten(1, (records, -1)).sum(2).square_()
    bound: Tensor = gram.clamp_min_(0).add_(slack, alpha=1e-6)
    return bound


def _by_row(values: Tensor, trace: LinearTrace) -> Tensor:
    """Give each row of ``trace`` what its record has in ``values`` ``[L, B, 1]``."""
    rows, records = trace.delta.shape[1], values.shape[1]
    return values if rows == records else values.repeat_interleave(rows // records, dim=1)


class DPSGDLanes:
    """Hands out noisy clipped mean gradients, and keeps every lane's ledger.

    Lanes must come by falling number of steps; after its
    last step a lane leaves, and tensors shrink to the ``active`` leading lanes.

    :meth:`gradient` is a whole step. A training loop whose steps are captured
    (:mod:`dpbench.privacy.capture`) calls its three parts: :meth:`begin` and
    :meth:`end` around :meth:`compute`, the part that repeats itself.

    Args:
        params: the layout of what is trained; every layer must get a trace.
        privates: one handle per lane; all hold equally many records.
        schedules: one per lane.
        name: names the mechanism and its random streams; unique within a trial.
        view: maps (lane, latents ``[B, d]``) to what the gradient sees ``[B, k]``,
            each row from its own record; applied once.
        labelled: put each record's class beside its latents, one column a class, before
            anything sees them; without labels there is none.
        fixed: keep batches at one width, as a captured step needs; a draw that
            exceeds it widens them for good, and changes :attr:`key`.
    """

    def __init__(
        self,
        params: LaneBuffer,
        privates: Sequence[PrivateLatents],
        schedules: Sequence[LaneSchedule],
        name: str = "dp-sgd",
        view: Callable[[int, Tensor], Tensor] | None = None,
        fixed: bool = False,
        labelled: bool = False,
    ) -> None:
        steps = [schedule.steps for schedule in schedules]
        if steps != sorted(steps, reverse=True):
            raise ValueError("lanes must be ordered by falling number of steps")
        sizes = {len(private._session.table) for private in privates}
        if len(sizes) != 1 or len(privates) != len(schedules):
            raise ValueError("every lane needs one schedule and equally many records")
        self.size = sizes.pop()
        self.step = 0
        self._privates, self._schedules = list(privates), list(schedules)
        self._grads = params.like()
        device = params.flat.device
        self._noise = torch.empty_like(params.flat[0])  # one lane's: it stays in the cache
        self._clip = torch.tensor([s.clip for s in schedules], device=device).unsqueeze(1)
        self._batch = torch.tensor(
            [s.sampling_rate * p.size for s, p in zip(schedules, privates, strict=True)],
            device=device,
        ).unsqueeze(1)
        self._labelled = labelled and self._privates[0].classes > 1
        self._source, self._offsets = self._records(view, device)
        present = [private._session.present for private in privates]
        self._present = torch.stack(present).to(device)
        self._shared = any(private._session.shared for private in privates)
        self._canaries = self._watched(view, device)
        self._fixed = fixed
        self._may_wait = device.type == "cpu" and not fixed
        self._room = [_room(s.sampling_rate * self.size, self.size) for s in schedules]
        self._traced: int | None = None
        self._picked = self._drawn = torch.zeros(0, 0, dtype=torch.int64, device=device)
        rates = [schedule.sampling_rate for schedule in schedules]
        self._counter = InclusionCounter(self.size, rates, device)
        self._uses = [self._use(lane, name) for lane in range(len(schedules))]
        self._samplers = [use.sampler(device) for use in self._uses]

    def _use(self, lane: int, name: str) -> GaussianUse:
        schedule = self._schedules[lane]
        mechanism = Mechanism(
            name=name,
            noise_multiplier=schedule.noise_multiplier,
            sampling_rate=schedule.sampling_rate,
            count=schedule.steps,
            sensitivity=schedule.clip,
        )
        figures = partial(self._counter.figures, lane)
        return self._privates[lane]._session.use(mechanism, figures)

    @property
    def active(self) -> int:
        """How many leading lanes have steps left."""
        return sum(schedule.steps > self.step for schedule in self._schedules)

    @property
    def sizes(self) -> list[int]:
        """How many leading rows of each lane's current batch may be records; others are padding."""
        if self._traced is not None:
            return [self._traced] * self.active
        if self._fixed:
            return self._room[: self.active]
        return self._sizes[self.step % BLOCK_STEPS]

    @property
    def key(self) -> tuple[int, ...]:
        """All that is fixed when a step is captured: the active lanes' widths."""
        return tuple(self._room[: self.active])

    @property
    def streams(self) -> list[torch.Generator]:
        """The generators on the device that :meth:`compute` draws from."""
        device = self._noise.device
        sources = (u.noise for u in self._uses if isinstance(u.noise, SeededSource))
        return [source.generator(device) for source in sources]

    def gradient(self, traces: Traces) -> LaneBuffer:
        """Return each active lane's noisy mean gradient, and count the step.

        The sum is divided by the expected batch size, never the drawn one. The
        buffer is reused: its content lasts until the next call.
        """
        self.begin()
        grads = self.compute(traces)
        self.end()
        return grads

    def begin(self) -> None:
        """Draw the batches of this step; each lane may release one gradient of them."""
        for use in self._uses[: self.active]:
            use.begin()
        at = self.step % BLOCK_STEPS
        if at == 0:
            self._draw_block()
        lanes, sizes = self.active, self._sizes[at]
        if not self._fixed:
            width = max(1, *sizes)
            self._picked, self._drawn = self._picks[at, :lanes, :width], self._counts[at, :lanes]
            return
        for lane, size in enumerate(sizes):
            if size > self._room[lane]:
                self._room[lane] = _room(size, self.size)
        shape = (lanes, max(self._room[:lanes]))
        if self._picked.shape != shape:
            self._picked = self._picks.new_zeros(shape)
            self._drawn = self._counts.new_zeros(lanes)
        width = min(shape[1], self._picks.shape[2])
        self._picked[:, :width].copy_(self._picks[at, :lanes, :width])
        self._drawn.copy_(self._counts[at, :lanes])

    def compute(self, traces: Traces) -> LaneBuffer:
        """Return the noisy mean gradients of the batches that :meth:`begin` drew.

        Raises:
            NotAccounted: called again before the next :meth:`begin`.
        """
        own = picks = self._picked
        lanes, width = own.shape
        if self._offsets is not None:
            picks = picks + self._offsets[:lanes]
        batch = self._source.index_select(0, picks.reshape(-1)).view(lanes, width, -1)
        ranks = torch.arange(width, device=batch.device)
        included = ranks < self._drawn.unsqueeze(1)
        present = self._present[:lanes].gather(1, own)
        if self._offsets is None and self._shared:
            batch = batch.masked_fill(~present.unsqueeze(2), 0)
        weight = (included & present).to(batch.dtype)
        grads = self._grads.head(lanes)
        with fast_products(batch.device):
            found = traces(batch)
        with full_precision():
            clipped_sum(found, self._clip[:lanes], weight, grads, self._may_wait)
        self._counter.add(own, included)
        for use, total in zip(self._uses, grads.flat, strict=False):
            use.release(total, self._noise)
        if self._canaries is not None:
            known = weight * self._known[:lanes].gather(1, own)
            background = grads.like()
            with full_precision():
                clipped_sum(found, self._clip[:lanes], known, background, self._may_wait)
            unexplained = LaneBuffer(grads.layers, grads.flat - background.flat)
            self._align(self._canaries[:lanes], traces, unexplained)
        grads.flat.div_(self._batch[:lanes])
        return grads

    def end(self) -> None:
        """Count the step."""
        self.step += 1

    def _align(
        self,
        canaries: Tensor,
        traces: Traces,
        total: LaneBuffer,
    ) -> None:
        """Tell each handle how far its noisy sum points toward the canaries' gradients.

        ``total`` is what is left of it without the records that an attacker knows.
        ``<G, a d^T> = a^T G d``: canaries' gradients are not formed either.
        """
        self._traced = canaries.shape[1]
        found = traces(canaries)
        self._traced = None
        products = torch.zeros(canaries.shape[:2], device=canaries.device)
        for trace in found:
            onto = torch.bmm(trace.inputs, total.weights[trace.layer])
            rows = ((onto + total.biases[trace.layer]) * trace.delta).sum(2)
            products += rows.unflatten(1, (products.shape[1], -1)).sum(2)
        norms = _norms(found, products.shape[1])
        products *= (self._clip[: len(canaries)] / norms.clamp_min(1e-30)).clamp_max(1)
        for use, product in zip(self._uses, products, strict=False):
            use.align(product)

    def _watched(
        self, view: Callable[[int, Tensor], Tensor] | None, device: torch.device
    ) -> Tensor | None:
        """Gather the canaries of an audit, as each lane sees them, ``[L, m, k]``."""
        sessions = [private._session for private in self._privates]
        evidence = [session.evidence for session in sessions if session.evidence is not None]
        if len(evidence) < len(sessions):
            return None
        known = [~own.planted for own in evidence]
        self._known = torch.stack(known).to(device, self._noise.dtype)
        watched = [self._beside(own.canaries, own.labels).to(device) for own in evidence]
        if view is not None:
            watched = [view(lane, canaries) for lane, canaries in enumerate(watched)]
        return torch.stack(watched)

    def _beside(self, latents: Tensor, labels: Tensor) -> Tensor:
        classes = self._privates[0].classes if self._labelled else 1
        return beside_classes(latents, labels, classes)

    def _draw_block(self) -> None:
        """Draw the next batches of every active lane and pad them to one width."""
        blocks: list[PoissonBlock] = []
        for lane in range(self.active):
            steps = min(BLOCK_STEPS, self._schedules[lane].steps - self.step)
            blocks.append(self._samplers[lane].block(steps))
        device = self._noise.device
        self._counts = torch.zeros(BLOCK_STEPS, len(blocks), dtype=torch.int64, device=device)
        for lane, block in enumerate(blocks):
            self._counts[: len(block.counts), lane] = block.counts
        self._sizes: list[list[int]] = self._counts.tolist()
        width = max(1, max(map(max, self._sizes)))
        self._picks = torch.zeros(BLOCK_STEPS, len(blocks), width, dtype=torch.int64, device=device)
        for lane, block in enumerate(blocks):
            self._picks[: len(block.counts), lane] = block.padded(width)

    def _records(
        self, view: Callable[[int, Tensor], Tensor] | None, device: torch.device
    ) -> tuple[Tensor, Tensor | None]:
        """Gather what batches are picked from: one table for all lanes, or one each."""
        sessions = [private._session for private in self._privates]
        first = sessions[0]
        alike = all(one.table is first.table for one in sessions)
        if alike and self._labelled:
            alike = all(torch.equal(one.labels, first.labels) for one in sessions)
        if view is None and alike:
            return self._beside(first.table, first.labels).to(device), None
        tables = [self._beside(one.latents, one.labels) for one in sessions]
        seen: Tensor | None = None
        for lane, table in enumerate(tables):
            start = lane * self.size
            for part in table.split(16384):
                rows = part.to(device) if view is None else view(lane, part.to(device))
                if seen is None:
                    seen = rows.new_empty(len(tables) * self.size, rows.shape[1])
                seen[start : start + len(rows)] = rows
                start += len(rows)
        if seen is None:
            raise ValueError("there are no private records")
        return seen, torch.arange(len(tables), device=device).mul_(self.size).unsqueeze(1)


def _room(expected: float, size: int) -> int:
    """Return a width that a Poisson batch of ``expected`` records rarely exceeds."""
    return min(size, 8 * math.ceil((expected + 4 * math.sqrt(expected) + 1) / 8))

"""Optimisers over the parameters of many lanes: a few fused operations per step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Literal, Protocol

import torch
from torch import Tensor

from dpbench.privacy.lane_nets import LaneBuffer

__all__ = [
    "LaneAdam",
    "LaneAverage",
    "LaneLAMB",
    "LaneOptimiser",
    "LaneSGD",
    "OptimiserName",
    "Rates",
    "lane_optimiser",
]

Rates = Sequence[float] | Tensor
"""One learning rate per active lane: numbers, or for a captured step a tensor ``[A]``."""

OptimiserName = Literal["adam", "sgd", "lamb"]


class LaneOptimiser(Protocol):
    """What moves the parameters of lanes."""

    def step(self, grads: Tensor, rates: Rates) -> None:
        """Update the leading ``len(rates)`` lanes by ``grads`` ``[A, P]``."""


def lane_optimiser(
    name: OptimiserName, params: LaneBuffer, betas: tuple[float, float], weight_decay: float
) -> LaneOptimiser:
    """Build an optimiser of ``params``; for SGD the first beta is the momentum."""
    if name == "sgd":
        return LaneSGD(params.flat, betas[0], weight_decay)
    if name == "lamb":
        return LaneLAMB(params, betas, weight_decay)
    return LaneAdam(params.flat, betas, weight_decay)


class _Moments:
    """Adam's averages of gradients and of their squares, ``[L, P]``, bias-corrected."""

    def __init__(self, flat: Tensor, betas: tuple[float, float], epsilon: float) -> None:
        self.mean = torch.zeros_like(flat)
        self.square = torch.zeros_like(flat)
        self.count = torch.zeros((), device=flat.device)
        self.betas, self.epsilon = betas, epsilon

    def direction(self, grads: Tensor) -> Tensor:
        """Take in ``grads`` ``[A, P]``; return ``mean / (sqrt(square) + epsilon)``."""
        self.count += 1
        mean, square = self.mean[: len(grads)], self.square[: len(grads)]
        mean.lerp_(grads, 1 - self.betas[0])
        square.lerp_(grads.square(), 1 - self.betas[1])
        scale = (square / (1 - self.betas[1] ** self.count)).sqrt_().add_(self.epsilon)
        return (mean / (1 - self.betas[0] ** self.count)).div_(scale)


class LaneAdam:
    """Adam (Kingma & Ba 2015) on ``[L, P]``; lanes have their own learning rates.

    ``weight_decay`` is added to the gradient, as in ``torch.optim.Adam``.
    """

    def __init__(
        self,
        flat: Tensor,
        betas: tuple[float, float] = (0.5, 0.9),
        weight_decay: float = 0.0,
        epsilon: float = 1e-8,
    ) -> None:
        self._flat, self._decay = flat, weight_decay
        self._moments = _Moments(flat, betas, epsilon)

    def step(self, grads: Tensor, rates: Rates) -> None:
        """Update the leading ``len(rates)`` lanes by ``grads`` ``[A, P]``."""
        if isinstance(rates, Tensor):
            if self._decay:
                grads = grads.add(self._flat[: len(rates)], alpha=self._decay)
            update = self._moments.direction(grads).mul_(rates.unsqueeze(1))
            self._flat[: len(rates)].sub_(update)
            return
        moments = self._moments
        moments.count += 1
        for start, stop, rate in _runs(rates):
            torch._fused_adam_(
                [self._flat[start:stop]],
                [grads[start:stop]],
                [moments.mean[start:stop]],
                [moments.square[start:stop]],
                [],
                [moments.count],
                lr=rate,
                beta1=moments.betas[0],
                beta2=moments.betas[1],
                weight_decay=self._decay,
                eps=moments.epsilon,
                amsgrad=False,
                maximize=False,
            )


class LaneLAMB:
    """LAMB (You et al. 2020, Algorithm 2): Adam's direction at each tensor's own scale.

    For every lane and every weight and bias the step is ``rate * |w| / |u| * u`` with
    u Adam's direction plus ``weight_decay`` times w; the ratio is 1 where either
    norm is 0.
    """

    def __init__(
        self,
        params: LaneBuffer,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        epsilon: float = 1e-6,
    ) -> None:
        self._params, self._decay = params, weight_decay
        self._moments = _Moments(params.flat, betas, epsilon)

    def step(self, grads: Tensor, rates: Rates) -> None:
        """Update the leading ``len(rates)`` lanes by ``grads`` ``[A, P]``."""
        flat = self._params.flat[: len(rates)]
        wanted = self._moments.direction(grads)
        if self._decay:
            wanted.add_(flat, alpha=self._decay)
        head, update = self._params.head(len(rates)), LaneBuffer(self._params.layers, wanted)
        pairs = zip(head.weights + head.biases, update.weights + update.biases, strict=True)
        for values, change in pairs:
            size = torch.linalg.vector_norm(values, dim=(1, 2), keepdim=True)
            length = torch.linalg.vector_norm(change, dim=(1, 2), keepdim=True)
            moves = (size > 0) & (length > 0)
            change.mul_(torch.where(moves, size / length.clamp_min(1e-30), 1.0))
        flat.sub_(wanted.mul_(_column(rates, flat)))


class LaneSGD:
    """Gradient descent with momentum on ``[L, P]``."""

    def __init__(self, flat: Tensor, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self._flat, self._momentum, self._decay = flat, momentum, weight_decay
        self._velocity = torch.zeros_like(flat) if momentum else None

    def step(self, grads: Tensor, rates: Rates) -> None:
        """Update the leading ``len(rates)`` lanes by ``grads`` ``[A, P]``."""
        flat = self._flat[: len(rates)]
        if self._decay:
            grads = grads.add(flat, alpha=self._decay)
        if self._velocity is not None:
            grads = self._velocity[: len(rates)].mul_(self._momentum).add_(grads)
        flat.addcmul_(grads, _column(rates, flat), value=-1)


class LaneAverage:
    """Average of parameters over steps, weighted towards the last (Shamir & Zhang 2013).

    With power g, step t enters with weight ``(g + 1) / (t + g)``: about the last
    ``1 / g`` of any number of steps counts. Averaging costs no privacy.
    """

    def __init__(self, flat: Tensor, power: float = 8.0, every: int = 2) -> None:
        self.flat = flat.clone()
        self._power, self._every, self._calls = power, every, 0

    def weight(self) -> float:
        """Count a step; return the weight with which it enters, 0 for those left out."""
        self._calls += 1
        if self._calls % self._every and self._calls > self._every:
            return 0.0
        turn = max(1.0, self._calls / self._every)
        return min(1.0, (self._power + 1) / (turn + self._power))

    def blend(self, flat: Tensor, weight: float | Tensor) -> None:
        """Take in the leading ``len(flat)`` lanes with ``weight`` (a number or a tensor of one)."""
        if isinstance(weight, Tensor) or weight > 0:
            self.flat[: len(flat)].lerp_(flat, weight)


def _column(rates: Rates, like: Tensor) -> Tensor:
    if not isinstance(rates, Tensor):
        rates = torch.tensor(rates, dtype=like.dtype, device=like.device)
    return rates.unsqueeze(1)


def _runs(rates: Sequence[float]) -> list[tuple[int, int, float]]:
    """Return (start, stop, rate) of neighbouring lanes with equal learning rates."""
    runs, start = [], 0
    for rate, group in groupby(rates):
        stop = start + len(list(group))
        runs.append((start, stop, rate))
        start = stop
    return runs

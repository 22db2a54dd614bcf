"""Optimisers over the parameters of many lanes: a few fused operations per step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

__all__ = ["LaneAdam", "LaneAverage", "LaneSGD"]


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
        self._flat = flat
        self._mean = torch.zeros_like(flat)
        self._square = torch.zeros_like(flat)
        self._step = torch.zeros((), device=flat.device)
        self._betas, self._decay, self._epsilon = betas, weight_decay, epsilon

    def step(self, grads: Tensor, rates: Sequence[float]) -> None:
        """Update the leading ``len(rates)`` lanes by ``grads`` ``[A, P]``."""
        self._step += 1
        for start, stop, rate in _runs(rates):
            torch._fused_adam_(
                [self._flat[start:stop]],
                [grads[start:stop]],
                [self._mean[start:stop]],
                [self._square[start:stop]],
                [],
                [self._step],
                lr=rate,
                beta1=self._betas[0],
                beta2=self._betas[1],
                weight_decay=self._decay,
                eps=self._epsilon,
                amsgrad=False,
                maximize=False,
            )


class LaneSGD:
    """Gradient descent with momentum on ``[L, P]``."""

    def __init__(self, flat: Tensor, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self._flat, self._momentum, self._decay = flat, momentum, weight_decay
        self._velocity = torch.zeros_like(flat) if momentum else None

    def step(self, grads: Tensor, rates: Sequence[float]) -> None:
        """Update the leading ``len(rates)`` lanes by ``grads`` ``[A, P]``."""
        lanes = len(rates)
        if self._decay:
            grads = grads.add(self._flat[:lanes], alpha=self._decay)
        if self._velocity is not None:
            grads = self._velocity[:lanes].mul_(self._momentum).add_(grads)
        for start, stop, rate in _runs(rates):
            self._flat[start:stop].add_(grads[start:stop], alpha=-rate)


class LaneAverage:
    """Average of parameters over steps, weighted towards the last (Shamir & Zhang 2013).

    With power g, step t enters with weight ``(g + 1) / (t + g)``: about the last
    ``1 / g`` of any number of steps counts. Averaging costs no privacy.
    """

    def __init__(self, flat: Tensor, power: float = 8.0, every: int = 2) -> None:
        self.flat = flat.clone()
        self._power, self._every, self._calls = power, every, 0

    def update(self, flat: Tensor) -> None:
        """Take in the leading ``len(flat)`` lanes."""
        self._calls += 1
        if self._calls % self._every and self._calls > self._every:
            return
        turn = max(1.0, self._calls / self._every)
        weight = min(1.0, (self._power + 1) / (turn + self._power))
        self.flat[: len(flat)].lerp_(flat, weight)


def _runs(rates: Sequence[float]) -> list[tuple[int, int, float]]:
    """Return (start, stop, rate) of neighbouring lanes with equal learning rates."""
    runs, start = [], 0
    for rate, group in groupby(rates):
        stop = start + len(list(group))
        runs.append((start, stop, rate))
        start = stop
    return runs

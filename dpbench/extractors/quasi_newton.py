"""Limited-memory BFGS for many small problems at once."""

from __future__ import annotations

import torch
from torch import Tensor

from dpbench.extractors.objective import Objective

__all__ = ["QuasiNewton"]


class QuasiNewton:
    """L-BFGS (Nocedal 1980), one problem per row, one evaluation per step.

    A trial point is taken if it is lower; if not, the next move is half as long,
    and what the trial taught of the curvature is kept all the same. The
    objective therefore never rises, and no line search holds up the batch.

    Args:
        start: ``[B, d]``.
        memory: curvature pairs kept.
        stride: length of the first move.
    """

    def __init__(self, objective: Objective, start: Tensor, memory: int, stride: float) -> None:
        self.objective, self.memory = objective, memory
        self.best = start
        self.lowest, gradient = objective(start)
        self.gradient = objective.tangential(start, gradient)
        # The inverse curvature is guessed as one number per row until a pair measures it.
        self.scale = stride / self.gradient.norm(dim=1, keepdim=True).clamp_min(1e-12)
        self.share = torch.ones_like(self.scale)
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []

    def step(self) -> None:
        trial = self.objective.project(self.best - self.share * self._direction())
        value, gradient = self.objective(trial)
        gradient = self.objective.tangential(trial, gradient)
        self._learn(trial - self.best, gradient - self.gradient)
        lower = value < self.lowest
        taken = lower[:, None]
        self.best = torch.where(taken, trial, self.best)
        self.gradient = torch.where(taken, gradient, self.gradient)
        self.lowest = torch.where(lower, value, self.lowest)
        self.share = torch.where(taken, (2 * self.share).clamp_max(1), self.share / 2)

    def _learn(self, moved: Tensor, change: Tensor) -> None:
        """Keep a pair where its curvature is positive; elsewhere zeros, which change nothing."""
        product = _dot(moved, change)
        useful = product > 1e-10
        inverse = torch.where(useful, 1 / product, 0)
        self.scale = torch.where(useful, product / _dot(change, change), self.scale)
        self.pairs = [*self.pairs[1 - self.memory :], (moved, change, inverse)][-self.memory :]

    def _direction(self) -> Tensor:
        """Multiply the gradient by the inverse curvature: the two loops of L-BFGS."""
        out, shares = self.gradient, []
        for moved, change, inverse in reversed(self.pairs):
            share = inverse * _dot(moved, out)
            out = torch.addcmul(out, share, change, value=-1)
            shares.append(share)
        out = self.scale * out
        for (moved, change, inverse), share in zip(self.pairs, reversed(shares), strict=True):
            out = torch.addcmul(out, share - inverse * _dot(change, out), moved)
        return out

    def converged(self, before: Tensor, tolerance: float) -> Tensor:
        return before - self.lowest <= tolerance * before


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1, keepdim=True)

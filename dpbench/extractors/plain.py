"""Plain gradient descent whose step is halved on a plateau, as the paper inverts."""

from __future__ import annotations

import torch
from torch import Tensor

from dpbench.extractors.objective import Objective

__all__ = ["PlainGradient"]

#: Share of the lowest objective by which a new low must undercut it, to count.
THRESHOLD = 1e-4


class PlainGradient:
    """``z <- z - step * gradient``, each image with a step of its own.

    Args:
        start: ``[B, d]``.
        step_size: first step, on the objective summed over an image.
        patience: iterations without a new low before the step is halved.
    """

    def __init__(
        self, objective: Objective, start: Tensor, step_size: float, patience: int
    ) -> None:
        self.objective, self.first, self.patience = objective, step_size, patience
        self.z = self.best = start
        self.lowest, self.gradient = objective(start)
        self.mark = self.lowest
        self.size = start.new_full((len(start), 1), step_size)
        self.waited = torch.zeros_like(self.lowest)

    def step(self) -> None:
        self.z = self.objective.project(self.z - self.size * self.gradient)
        value, self.gradient = self.objective(self.z)
        lower = value < self.lowest
        self.best = torch.where(lower[:, None], self.z, self.best)
        self.lowest = torch.where(lower, value, self.lowest)
        progress = value < self.mark * (1 - THRESHOLD)
        self.mark = torch.where(progress, value, self.mark)
        self.waited = torch.where(progress, 0, self.waited + 1)
        stuck = self.waited > self.patience
        self.size = torch.where(stuck[:, None], self.size / 2, self.size)
        self.waited = torch.where(stuck, 0, self.waited)

    def converged(self, before: Tensor, tolerance: float) -> Tensor:
        del before  # a slow descent is not a finished one: the step tells
        return self.size[:, 0] <= tolerance * self.first

"""Whether the noise of recorded releases is the noise that was accounted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dpbench.privacy.ledger import FALSE_ALARM, Mechanism

__all__ = ["NoiseCheck"]

_ROUNDING = 1e-5
"""Noise below this share of a float32 sum's largest entry cannot be read off it."""
_LARGEST_SCORE = 6.0
"""Standard score of an inner product of independent noise: beyond it once in 5e8."""


@dataclass
class NoiseCheck:
    """Gathers noise in units of its accounted standard deviation, release after release.

    The sum of squares of n numbers is then chi-squared with n degrees of freedom,
    and the inner product of two releases' noise has mean 0 and variance n.
    """

    numbers: int = 0
    squares: float = 0.0
    products: dict[str, float] = field(default_factory=lambda: {"first": 0.0, "last": 0.0})
    paired: dict[str, int] = field(default_factory=lambda: {"first": 0, "last": 0})
    _kept: dict[str, Tensor] = field(default_factory=dict)
    _missing: bool = False
    _repeated: bool = False

    def add(self, mechanism: Mechanism, total: Tensor, released: Tensor) -> None:
        """Look at one release, and at its likeness to the first and to the one before."""
        deviation = mechanism.noise_std
        if deviation <= _ROUNDING * float(total.abs().max()):
            return  # none was accounted, or what there is drowns in rounding
        noise = ((released.double() - total.double()) / deviation).flatten()
        self.numbers += len(noise)
        self.squares += float(noise.square().sum())
        self._missing |= bool((noise == 0).all())
        for name, other in self._kept.items():
            if other.shape == noise.shape:
                self._repeated |= len(noise) > 3 and _close(noise, other)
                self.products[name] += float(other @ noise)
                self.paired[name] += len(noise)
        self._kept.setdefault("first", noise.clone())
        self._kept["last"] = noise

    def problem(self) -> str | None:
        """Return what is wrong, or ``None``; false alarms are rarer than one in 10^7."""
        if self._missing:
            return "a release carries no noise at all"
        if not self.numbers:
            return None
        for name, product in self.products.items():
            limit = _LARGEST_SCORE * _spread(self.paired[name])
            if self._repeated or (self.paired[name] and abs(product) > limit):
                return "releases share their noise: their difference is free of it"
        ratio = self.squares / self.numbers
        if abs(ratio - 1) > 0.01 and _tail(self.squares, self.numbers) < FALSE_ALARM:
            return f"releases carry {math.sqrt(ratio):.2g} times the noise accounted"
        return None


def _close(noise: Tensor, other: Tensor) -> bool:
    return bool((noise - other).norm() < 1e-3 * other.norm())


def _spread(count: int) -> float:
    """Bound the deviation of an inner product of ``count`` pairs, also for few of them."""
    return math.sqrt(count) + _LARGEST_SCORE


def _tail(squares: float, count: int) -> float:
    """Return the two-sided tail probability of a chi-squared sum."""
    half, value = torch.tensor([count / 2, squares / 2], dtype=torch.float64)
    low = float(torch.special.gammainc(half, value))
    return 2 * min(low, float(torch.special.gammaincc(half, value)))

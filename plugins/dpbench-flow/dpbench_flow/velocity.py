"""The velocity of a flow from noise to latents: what the start gives, and what a network adds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dpbench.generators.mixture import Mixture
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP, LinearTrace

__all__ = ["Guide", "VelocityNet", "integrate"]

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Maps points ``[B, d]`` and times ``[B, 1]`` to velocities ``[B, d]``."""

_ROWS = 8192


class Guide:
    """The exact velocity that carries N(0, I) to a Gaussian mixture.

    For ``x_t = (1 - t) x_0 + t x_1`` it is ``E[x_1 - x_0 | x_t]`` (Lipman et al. 2023):
    given component k with covariance ``U diag(l) U^T``, x_t is Gaussian with variances
    ``s = t^2 l + (1 - t)^2`` along U, and the mean velocity along U is
    ``(t l - (1 - t)) / s`` times the distance from ``t`` times the component's mean.
    Where the mixture has classes a point may be of some only.
    """

    def __init__(self, mixture: Mixture) -> None:
        values, vectors = torch.linalg.eigh(mixture.factors @ mixture.factors.mT)
        self._values = values.clamp_min(1e-6)  # [K, d]
        self._means = mixture.means  # [K, d]
        self._weights = mixture.weights.log()
        self._classes = mixture.classes
        self._into = vectors.permute(1, 0, 2).flatten(1).contiguous()  # [d, K * d]
        self._centres = (mixture.means.unsqueeze(1) @ vectors).squeeze(1)  # means along U

    def __call__(self, x: Tensor, t: Tensor, marks: Tensor | None = None) -> Tensor:
        """Return velocities ``[B, d]`` at points ``[B, d]`` and times ``[B, 1]``.

        ``marks`` ``[B, classes]`` are 1 in a point's class, else 0.
        """
        marks = x[:, :0] if marks is None else marks
        parts = zip(x.split(_ROWS), t.split(_ROWS), marks.split(_ROWS), strict=True)
        return torch.cat([self._some(*part) for part in parts])

    def _some(self, x: Tensor, t: Tensor, marks: Tensor) -> Tensor:
        count, dim = self._means.shape
        t = t.unsqueeze(2)
        along = (x @ self._into).view(-1, count, dim) - t * self._centres
        spread = t.square() * self._values + (1 - t).square()
        likely = self._weights - 0.5 * (along.square() / spread + spread.log()).sum(2)
        if self._classes > 1:
            own = marks.repeat_interleave(count // self._classes, 1)
            likely = likely + 1e3 * (own - 1)  # finite: a null record is of no class
        shares = likely.softmax(1)
        pull = (t * self._values - (1 - t)) / spread * along * shares.unsqueeze(2)
        velocity: Tensor = torch.addmm(shares @ self._means, pull.flatten(1), self._into.T)
        return velocity


@dataclass(frozen=True)
class VelocityNet:
    """An MLP on a point, its class and features of its time; its last layer starts at zero.

    ``frequencies`` K gives the features ``t, cos(pi k t), sin(pi k t)``, k = 1..K.
    """

    dim: int
    hidden: tuple[int, ...]
    frequencies: int = 4
    classes: int = 0

    @property
    def mlp(self) -> LaneMLP:
        """The network in a buffer."""
        inputs = self.dim + 1 + 2 * self.frequencies + self.classes
        return LaneMLP((inputs, *self.hidden, self.dim))

    def embed(self, x: Tensor, t: Tensor, marks: Tensor) -> Tensor:
        """Put features of ``t`` ``[..., 1]`` and classes beside points ``[..., d]``."""
        turns = math.pi * t * torch.arange(1, self.frequencies + 1, device=t.device)
        return torch.cat([x, t, turns.cos(), turns.sin(), marks], -1)

    def traces(
        self, params: LaneBuffer, x: Tensor, t: Tensor, marks: Tensor, target: Tensor, draws: int
    ) -> list[LinearTrace]:
        """Trace half the mean squared error over coordinates and a record's ``draws`` rows."""
        tape = self.mlp.forward(params, self.embed(x, t, marks))
        return self.mlp.backward(params, tape, (tape.output - target).div_(draws * self.dim))[0]

    def velocity(self, params: LaneBuffer, guide: Guide, marks: Tensor) -> Velocity:
        """Return the velocity of one lane at points of the classes ``marks``."""

        def at(x: Tensor, t: Tensor) -> Tensor:
            seen = self.embed(x, t, marks)[None]
            return guide(x, t, marks) + self.mlp.forward(params, seen).output[0]

        return at


def integrate(velocity: Velocity, x: Tensor, steps: int) -> Tensor:
    """Carry ``x`` ``[B, d]`` from time 0 to 1 by ``steps`` of Heun's method."""
    width = 1 / steps
    for step in range(steps):
        now = x.new_full((len(x), 1), step * width)
        slope = velocity(x, now)
        ahead = velocity(x + width * slope, now + width)
        x = x + 0.5 * width * (slope + ahead)
    return x

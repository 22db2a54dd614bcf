"""Centres of a mixture by DP-SGD, between the release of a Gaussian and that of the mixture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dpbench.generators.mixture import Mixture, spread
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule

__all__ = ["Descent", "descend"]

_COUNT = 1 / 3
"""What a record adds to its centre's count, in the units of its distance over the reach."""
_DECAY = 0.7
"""Step ``t``, counted from 1, moves the running sums by ``t ** -0.7`` towards the new ones."""


@dataclass(frozen=True)
class Descent:
    """Where records are seen from (``base``, a Gaussian), and how far one may pull a centre."""

    base: Mixture
    reach: float

    @classmethod
    def around(cls, base: Mixture) -> Descent:
        """A record of ``base`` lies about ``sqrt(d)`` from its mean in whitened units."""
        return cls(base, 1.25 * math.sqrt(base.means.shape[1]))

    @property
    def factor(self) -> Tensor:
        return self.base.factors[0]

    def whiten(self, x: Tensor) -> Tensor:
        """See ``x`` ``[B, d]`` in units of the Gaussian."""
        centred = (x - self.base.means[0]).T
        return torch.linalg.solve_triangular(self.factor, centred, upper=False).T

    def restore(self, y: Tensor) -> Tensor:
        """Undo :meth:`whiten`."""
        return y @ self.factor.T + self.base.means[0]

    def traces(self, centres: Tensor, batch: Tensor) -> list[LinearTrace]:
        """Trace half the squared distance of a record to its nearest centre, and its count.

        The gradient is an outer product of the centre's indicator and ``[distance, count]``,
        scaled so that a record at the reach has norm 1: the clip that cuts nobody off.
        """
        y = self.whiten(batch[0])
        owner = torch.cdist(y, centres).argmin(1)
        pull = (y - centres[owner]) / (self.reach * _COUNT)
        longest = math.sqrt(1 + _COUNT**-2)
        return [LinearTrace(0, pull[None], one_hot(owner, len(centres))[None].to(y) / longest)]

    def sums(self, gradient: LaneBuffer) -> tuple[Tensor, Tensor]:
        """Return shares of records ``[K]`` and mean pulls ``[K, d]`` of a noisy gradient."""
        longest = math.sqrt(1 + _COUNT**-2)
        counts = gradient.biases[0][0, 0] * longest
        return counts, gradient.weights[0][0].T * (longest * _COUNT * self.reach)


def descend(
    private: PrivateLatents, base: Mixture, count: int, schedule: LaneSchedule, name: str
) -> Tensor:
    """Return ``count`` centres ``[K, d]``, moved by noisy clipped gradients (mini-batch k-means).

    They start as cluster centres of draws from ``base``. Gradients are averaged over steps and
    divided by the counts so far (Bottou and Bengio 1995), which makes a step a Newton step.
    """
    descent = Descent.around(base.to(private.device))
    drawn = base.to("cpu").sample(4096, private.context.generator(f"{name}:start"))
    spread_out = spread(drawn, count, private.context.generator(f"{name}:spread"))
    centres = descent.whiten(spread_out.to(private.device))
    buffer = LaneBuffer.zeros([(private.dim, count)], 1, private.device)
    engine = DPSGDLanes(buffer, [private], [schedule], name=name)
    counts, pulls = centres.new_full((count,), 1 / count), torch.zeros_like(centres)
    variance = 0.0
    noise = schedule.noise_multiplier * schedule.clip / (schedule.sampling_rate * private.size)
    noise *= math.sqrt(1 + _COUNT**-2) * _COUNT * descent.reach
    for step in range(schedule.steps):
        rate = (step + 1) ** -_DECAY
        found = descent.sums(engine.gradient(partial(descent.traces, centres)))
        counts, pulls = counts.lerp(found[0], rate), pulls.lerp(found[1], rate)
        variance = (1 - rate) ** 2 * variance + (rate * noise) ** 2
        sure = counts.clamp_min(0.2 / count).square()
        # shrunk to where the centre was by how uncertain the move is
        move = pulls / sure.sqrt().unsqueeze(1) * (sure / (sure + variance)).unsqueeze(1)
        centres, pulls = centres + move, pulls - counts.unsqueeze(1) * move
    return descent.restore(centres)

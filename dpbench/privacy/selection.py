"""Choose one of several trained generators by a noisy count, and say what that costs.

Exact private scores are outside any finite epsilon: one image can turn the choice by
them. Here every private latent votes once, for the candidate whose samples come
nearest to it, and the candidate with most votes after noise wins (report noisy max).
A null record does not vote, so one record moves one count by one.

All candidates were trained on the same records and all of them are looked at, so what
is spent in the end is the composition of their ledgers and of the choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import compose, noise_multiplier_for
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.ledger import Mechanism

__all__ = ["SHARE", "choose_noisily", "noise_of_choice", "selection_epsilon"]

#: What the choice may spend, as a part of what one candidate spent.
SHARE = 0.1
_NAME = "choice"


def noise_of_choice(epsilon: float, delta: float) -> float:
    """Return the noise multiplier of a choice beside a candidate that spent ``epsilon``."""
    return noise_multiplier_for(SHARE * epsilon, delta)


def choose_noisily(
    private: PrivateLatents, samples: Sequence[Tensor], noise_multiplier: float
) -> int:
    """Return the index of the candidate that most private latents are nearest to, with noise.

    ``samples`` holds ``[S, d]`` latents of each candidate, equally many.
    """
    if len({len(drawn) for drawn in samples}) != 1:
        raise DpbenchError("a choice needs equally many samples of every candidate")
    points = torch.cat(list(samples))
    owner = torch.arange(len(samples)).repeat_interleave(len(samples[0]))

    def nearest(z: Tensor) -> Tensor:
        return owner.to(z.device)[torch.cdist(z, points.to(z)).argmin(1)]

    counts = private.noisy_count(
        nearest, len(samples), noise_multiplier=noise_multiplier, name=_NAME
    )
    return int(counts.argmax())


def selection_epsilon(
    candidates: Iterable[Iterable[Mechanism]], noise_multipliers: Iterable[float], delta: float
) -> float:
    """Return the epsilon of training all candidates (their ledgers) and of every noisy count."""
    counts = [Mechanism(name=_NAME, noise_multiplier=noise) for noise in noise_multipliers]
    return compose([*itertools.chain.from_iterable(candidates), *counts], delta).epsilon

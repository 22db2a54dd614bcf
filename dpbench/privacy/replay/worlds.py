"""The record sets between which an honest fit must not tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dpbench.api import derive_seed
from dpbench.privacy.audit.scores import far_latents
from dpbench.privacy.replay.memorised import DECOYS

__all__ = ["Worlds", "make_worlds"]


@dataclass(frozen=True)
class Worlds:
    """Three sets of equally many latents ``[n, d]``.

    ``recorded`` holds private records and the far-out latent ``planted`` ``[d]``,
    ``neighbour`` the same with a null record in its place, ``other`` has no record in
    common with both. ``decoys`` are drawn as ``planted`` was, and are nowhere.
    """

    recorded: Tensor
    neighbour: Tensor
    other: Tensor
    planted: Tensor
    decoys: Tensor


def make_worlds(private: Tensor, public: Tensor, records: int, seed: int) -> Worlds:
    """Draw at most ``records`` of the private latents, and plant the far-out one."""
    rng = torch.Generator().manual_seed(derive_seed(seed, "replay-worlds"))
    order = torch.randperm(len(private), generator=rng)[:records]
    recorded = private[order].clone()
    place = int(torch.randint(len(recorded), (1,), generator=rng))
    far = far_latents(public, 1 + DECOYS, rng).to(recorded)
    recorded[place] = far[0]
    neighbour = recorded.clone()
    neighbour[place] = torch.nan
    # Mirrored and shrunk: every statistic changes, and every contribution stays defined.
    other = -0.5 * neighbour.roll(1, 0)
    return Worlds(recorded, neighbour, other, far[0], far[1:])

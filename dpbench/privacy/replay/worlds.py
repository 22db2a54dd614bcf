"""The record sets between which an honest fit must not tell."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dpbench.api import derive_seed
from dpbench.privacy.audit.scores import far_latents
from dpbench.privacy.records import Records
from dpbench.privacy.replay.memorised import DECOYS

__all__ = ["Worlds", "make_worlds"]


@dataclass(frozen=True)
class Worlds:
    """Three sets of equally many records.

    ``recorded`` holds private records and the far-out latent ``planted`` ``[d]``,
    ``neighbour`` the same with a null record in its place, ``other`` has no record in
    common with both. ``decoys`` are drawn as ``planted`` was, and are nowhere.
    """

    recorded: Records
    neighbour: Records
    other: Records
    planted: Tensor
    decoys: Tensor


def make_worlds(private: Records, public: Tensor, records: int, seed: int) -> Worlds:
    """Draw at most ``records`` of the private latents, and plant the far-out one."""
    rng = torch.Generator().manual_seed(derive_seed(seed, "replay-worlds"))
    order = torch.randperm(len(private), generator=rng)[:records]
    recorded = private.of(order)
    latents = recorded.latents.clone()
    place = int(torch.randint(len(latents), (1,), generator=rng))
    far = far_latents(public, 1 + DECOYS, rng).to(latents)
    latents[place] = far[0]
    neighbour = latents.clone()
    neighbour[place] = torch.nan
    # Mirrored and shrunk: every statistic changes, and every contribution stays defined.
    other = -0.5 * neighbour.roll(1, 0)
    return Worlds(
        replace(recorded, latents=latents),
        replace(recorded, latents=neighbour),
        Records(other, _relabelled(recorded.labels, private.classes), private.classes),
        far[0],
        far[1:],
    )


def _relabelled(labels: Tensor | None, classes: int) -> Tensor | None:
    """Give all records other classes, and some classes more of them than before."""
    if labels is None:
        return None
    moved = (labels + 1) % classes
    return torch.where(torch.arange(len(labels)) % 3 == 0, moved // 2, moved)

"""The record sets between which an honest fit must not tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dpbench.api import derive_seed
from dpbench.privacy.audit.scores import far_latents
from dpbench.privacy.replay.memorised import DECOYS

__all__ = ["Records", "Worlds", "make_worlds"]


class Records(NamedTuple):
    """Latents ``[n, d]`` and their classes ``[n]``, where there are ``classes`` > 1."""

    latents: Tensor
    labels: Tensor | None = None
    classes: int = 1


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
    order = torch.randperm(len(private.latents), generator=rng)[:records]
    recorded = private.latents[order].clone()
    place = int(torch.randint(len(recorded), (1,), generator=rng))
    far = far_latents(public, 1 + DECOYS, rng).to(recorded)
    recorded[place] = far[0]
    neighbour = recorded.clone()
    neighbour[place] = torch.nan
    # Mirrored and shrunk: every statistic changes, and every contribution stays defined.
    other = -0.5 * neighbour.roll(1, 0)
    labels = None if private.labels is None else private.labels[order]
    elsewhere = None if labels is None else _relabelled(labels, private.classes)
    return Worlds(
        Records(recorded, labels, private.classes),
        Records(neighbour, labels, private.classes),
        Records(other, elsewhere, private.classes),
        far[0],
        far[1:],
    )


def _relabelled(labels: Tensor, classes: int) -> Tensor:
    """Give all records other classes, and some classes more of them than before."""
    moved = (labels + 1) % classes
    return torch.where(torch.arange(len(labels)) % 3 == 0, moved // 2, moved)

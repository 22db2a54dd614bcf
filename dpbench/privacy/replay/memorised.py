"""Whether a planted record can be read off what a generator hands out."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from dpbench.privacy.replay.observed import Observed

__all__ = ["DECOYS", "memorised"]

DECOYS = 20_000
"""Latents drawn as the planted one was, and not planted."""
_CLOSE = 0.1
"""How near, relative to the planted latent's own length, counts as read off."""
_FALSE_ALARM = 2e-3


def memorised(seen: Observed, planted: Tensor, decoys: Tensor, epsilon: float) -> bool:
    """Say whether something handed out lies at ``planted`` ``[d]`` and at none of ``decoys``.

    Without the planted record all of them are alike, and it is the nearest one with
    probability ``1 / (len(decoys) + 1)``; under (epsilon, delta)-DP that grows at most
    ``exp(epsilon)``-fold. Nothing is said where that is no longer rare.
    """
    if math.exp(min(epsilon, 50.0)) / len(decoys) > _FALSE_ALARM:
        return False
    nearest = _nearest(planted[None], _rows(seen, len(planted)))
    if nearest > _CLOSE * float(planted.norm()):
        return False
    return nearest < _nearest(decoys, _rows(seen, len(planted)))


def _rows(seen: Observed, dim: int) -> Iterable[Tensor]:
    for tensor in (*seen.samples.values(), *seen.state.values()):
        if tensor.ndim and tensor.shape[-1] == dim and tensor.is_floating_point():
            yield from tensor.reshape(-1, dim).double().split(1024)


def _nearest(targets: Tensor, rows: Iterable[Tensor]) -> float:
    found = [torch.cdist(part, targets.double()).nan_to_num(torch.inf).min() for part in rows]
    return float(torch.stack(found).min()) if found else math.inf

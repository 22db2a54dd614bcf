"""Sums over groups of records, released together at the price of one sum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.privacy.handle import PrivateLatents, check_per_record
from dpbench.privacy.ledger import Mechanism

__all__ = ["release_grouped_sum"]

_ROWS, _NUMBERS = 8192, 2**24
"""Most records at a time, and most numbers among their values: second moments are wide."""


def release_grouped_sum(
    private: PrivateLatents,
    contribution: Callable[[Tensor], tuple[Tensor, Tensor]],
    *,
    clip: float,
    noise_multiplier: float,
    name: str,
) -> Tensor:
    """Release ``sum_i w_i (x) v_i`` over all records i with Gaussian noise, ``[K, m]``.

    ``contribution`` maps latents ``[B, d]`` to memberships w ``[B, K]`` and
    values v ``[B, m]``, each row from its own latent. Values are clipped to L2
    norm ``clip`` and memberships to L2 norm 1 (soft assignments, which sum to
    one, already are), so a record moves the result by at most ``clip`` however
    many groups there are: it is one vector of length K m, never formed.
    """
    if clip <= 0:
        raise DpbenchError(f"clip of {name!r} must be positive, got {clip}")
    total: Tensor | None = None
    background = torch.zeros(())
    rows = _ROWS
    if private.size:
        width = contribution(private._latents[:1])[1].shape[1]
        rows = min(_ROWS, max(1, _NUMBERS // max(1, width)))
    for start in range(0, private.size, rows):
        chunk = private._latents[start : start + rows]
        weights, values = contribution(chunk)
        if len(weights) != len(chunk) or len(values) != len(chunk):
            raise DpbenchError(f"{name!r}: a contribution must give one row per record")
        if not (torch.isfinite(weights).all() and torch.isfinite(values).all()):
            raise DpbenchError(f"{name!r}: a contribution is not finite; clipping cannot bound it")
        if total is None:
            check_per_record(
                lambda z: torch.cat(contribution(z), 1),
                chunk,
                torch.cat([weights, values], 1),
                name,
            )
        share, values = _bounded(weights, values, clip)
        part = (share.T @ values).double()
        total = part if total is None else total + part
        if private.canaries is not None:
            known = ~private.planted[start : start + rows]
            background = background + (share[known].T @ values[known]).double()
    if total is None:
        raise DpbenchError(f"{name!r}: there are no private records")
    private.ledger.record(Mechanism(name=name, noise_multiplier=noise_multiplier, sensitivity=clip))
    noise = private.noise_source(name).normal(total.shape, dtype=total.dtype)
    release = total + noise_multiplier * clip * noise.to(total.device)
    if private.canaries is not None:
        share, values = _bounded(*contribution(private.canaries), clip)
        products = torch.einsum(
            "bk,km,bm->b", share.double(), release - background, values.double()
        )
        private.align(products, noise_multiplier * clip)
    return release.float()


def _bounded(weights: Tensor, values: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Clip memberships to L2 norm 1 and values to ``clip``, row by row."""
    scale = (clip / values.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1)
    return weights / weights.norm(dim=1, keepdim=True).clamp_min(1), values * scale

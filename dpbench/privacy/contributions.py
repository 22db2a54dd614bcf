"""What records contribute to a sum: one row each, of its own, finite and bounded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dpbench.errors import DpbenchError

__all__ = [
    "NotPerRecord",
    "alone_differs",
    "beside_classes",
    "bounded",
    "in_full",
    "membership",
    "probes",
]


class NotPerRecord(DpbenchError):
    """A contribution whose rows depend on other records: its sensitivity is not the clip."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r}: a record's contribution alone differs from its row in the batch, so one "
            "record would move others: use no batch statistics and no randomness inside the "
            "contribution (standardise with public latents, draw random features beforehand)"
        )


def probes(count: int) -> list[int]:
    """Return a few row numbers spread over ``count`` rows."""
    return sorted({0, count // 3, 2 * count // 3, count - 1})


def alone_differs(name: str, rows: Tensor, alone: Callable[[int], Tensor]) -> None:
    """Compare a few of ``rows`` ``[B, k]`` with what ``alone(i)`` ``[1, k]`` gives for row i.

    Raises:
        NotPerRecord: they differ.
    """
    chosen = probes(len(rows))
    differ = 0
    for index in chosen:
        found = alone(index).double().nan_to_num()
        expected = rows[index : index + 1].double().nan_to_num()
        # A thousandth: what float32 products of other shapes may differ by, and no more.
        slack = 1e-3 * expected.norm() + 1e-6
        differ += found.shape != expected.shape or not bool((found - expected).norm() <= slack)
    # Rounding may flip one record that sits between two clusters, never two of four.
    if differ >= min(2, len(chosen)):
        raise NotPerRecord(name)


def in_full(rows: Tensor) -> Tensor:
    """Return half-precision ``rows`` in float32: norms and sums of theirs would be rounded."""
    return rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows


def bounded(rows: Tensor, clip: float, keep: Tensor) -> Tensor:
    """Scale ``rows`` ``[B, k]`` to L2 norms of at most ``clip``.

    Rows that are not finite and rows outside ``keep`` ``[B]`` contribute nothing:
    an error would tell that such a record is there.
    """
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    scaled = rows * (clip / norms.clamp_min(1e-30)).clamp_max(1)
    return torch.where(keep.unsqueeze(1) & torch.isfinite(rows).all(1, keepdim=True), scaled, 0)


def membership(labels: Tensor, classes: int, like: Tensor) -> Tensor:
    """Return ``[B, classes]`` of ``like``'s kind: 1 in a record's class, all 0 for null records."""
    own = labels.to(like.device).unsqueeze(1) == torch.arange(classes, device=like.device)
    return own.to(like.dtype)


def beside_classes(latents: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Put a record's class beside its latents, ``[B, d + classes]``; without labels nothing."""
    if classes == 1:
        return latents
    return torch.cat([latents, membership(labels, classes, latents)], 1)

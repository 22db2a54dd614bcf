"""Random numbers of an image's own: they depend on no other image, nor on its place."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from dpbench.api import derive_seed

__all__ = ["normal_of_each"]


def normal_of_each(images: Tensor, dim: int, seed: int) -> Tensor:
    """Draw N(0, I) numbers for each of ``images`` ``[N, C, H, W]``; return ``[N, dim]``.

    Each row follows from ``seed`` and the bytes of its image. Rows of one stream, drawn
    by place, would move with the records before them.
    """
    rows = torch.empty(len(images), dim)
    rng = torch.Generator()
    for row, image in zip(rows, images.cpu().contiguous().numpy(), strict=True):
        rng.manual_seed(derive_seed(seed, hashlib.sha256(image.tobytes()).hexdigest()))
        row.normal_(generator=rng)
    return rows

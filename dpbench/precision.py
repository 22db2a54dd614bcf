"""Where reduced precision may be used: nowhere, unless asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["fast_products"]


@contextlib.contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Let matrix products on a CUDA device use TF32 (10 bits of mantissa) inside the block.

    Fit for forward and backward passes. Not for what a privacy guarantee rests on:
    a clipped gradient that is summed in TF32 may exceed its clip by one part in a
    thousand.
    """
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    if device.type == "cuda":
        matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision = before

"""Where reduced precision may be used, and where it may not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

__all__ = ["fast_products", "full_precision"]


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


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Keep convolutions on a CUDA device in float32 inside the block; torch's default is TF32.

    Scores must not depend on the card they were computed on.
    """
    cudnn: Any = torch.backends.cudnn
    convolution = cudnn.conv
    before = convolution.fp32_precision
    convolution.fp32_precision = "ieee"
    try:
        yield
    finally:
        convolution.fp32_precision = before

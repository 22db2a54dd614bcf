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
    """Keep products and convolutions in float32, whatever was set before and by whom, autocast too.

    For sums whose sensitivity a guarantee states, and for scores, which must not
    depend on the machine they were computed on. By torch's default convolutions on a CUDA
    device are TF32; after ``torch.set_float32_matmul_precision("medium")``, which a plugin
    may call, products on processors that know bfloat16 have 8 bits of mantissa.
    """
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    switches = (torch.backends.cuda.matmul, cudnn.conv, mkldnn.matmul, mkldnn.conv)
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "ieee"
    try:
        with contextlib.ExitStack() as off:
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    off.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        for switch, precision in zip(switches, before, strict=True):
            switch.fp32_precision = precision

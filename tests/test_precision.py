"""Reduced precision is let in by the block, and leaves with it."""

from __future__ import annotations

import torch

from dpbench.precision import fast_products, full_precision


def test_products_are_fast_only_inside_and_only_on_a_gpu() -> None:
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    with fast_products(torch.device("cpu")):
        assert matmul.fp32_precision == before
    with fast_products(torch.device("cuda")):
        assert matmul.fp32_precision == "tf32"
    assert matmul.fp32_precision == before


def test_scores_are_computed_in_full_precision() -> None:
    convolution = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = convolution.fp32_precision
    with full_precision():
        assert convolution.fp32_precision == "ieee"
    assert convolution.fp32_precision == before

"""How the tensors of two runs are compared."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dpbench.testing.checks import require

__all__ = ["ROUNDING", "first_difference", "require_latents", "same"]


ROUNDING = 1e-3
"""Relative L2 distance: what products of other shapes may round to, and no more."""


def same(first: Tensor, second: Tensor, tolerance: float = 0.0) -> bool:
    """Whether two tensors agree, NaN with NaN, up to ``tolerance`` (relative, L2)."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    old, new = first.double().nan_to_num(), second.double().nan_to_num()
    agree = torch.equal(first.isnan(), second.isnan())
    return agree and bool((old - new).norm() <= tolerance * old.norm())


def first_difference(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], tolerance: float = 0.0
) -> str | None:
    """Return the name of the first tensor in which two runs differ, or ``None``."""
    if list(first) != list(second):
        return "the list of tensors"
    return next((k for k in first if not same(first[k], second[k], tolerance)), None)


def require_latents(found: object, count: int, dim: int, what: str) -> None:
    """Raise unless ``found`` are ``count`` finite latents as the harness wants them."""
    require(isinstance(found, Tensor), f"{what} is {type(found).__name__}, not a tensor")
    assert isinstance(found, Tensor)
    wanted = (count, dim)
    require(tuple(found.shape) == wanted, f"{what} has shape {tuple(found.shape)}, not {wanted}")
    require(found.dtype == torch.float32, f"{what} is {found.dtype}, not torch.float32")
    require(found.device.type == "cpu", f"{what} is on {found.device}, not on the CPU")
    require(not found.requires_grad, f"{what} still requires gradients: detach it")
    require(bool(torch.isfinite(found).all()), f"{what} holds NaN or infinity")

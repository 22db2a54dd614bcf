"""Kernel Inception Distance (Bińkowski et al. 2018), with a standard error."""

from __future__ import annotations

import torch
from torch import Tensor

from dpbench.api import MetricUnavailable

__all__ = ["block_mmd", "kernel_distance"]


def kernel_distance(
    generated: Tensor, reference: Tensor, subset_size: int = 500, seed: int = 2020
) -> tuple[float, float]:
    """Squared maximum mean discrepancy under the kernel ``(x.y / D + 1)^3``.

    Both sets are shuffled and cut into disjoint subsets of ``subset_size``; each
    pair of subsets gives an unbiased estimate, and since pairs share no image,
    their spread gives an honest standard error. (Overlapping subsets, as often
    drawn, make it too small.)

    Args:
        generated, reference: features ``[N, D]`` and ``[M, D]``.

    Returns:
        The mean over subsets, around 0 (below it, too) for equal distributions,
        and its standard error.

    Raises:
        MetricUnavailable: fewer than two subsets in either set.
    """
    subsets = min(len(generated), len(reference)) // subset_size
    if subsets < 2:
        raise MetricUnavailable(
            f"a standard error needs 2 subsets of {subset_size} images, "
            f"not {min(len(generated), len(reference))} images"
        )
    rng = torch.Generator().manual_seed(seed)
    estimates = []
    most = subsets * subset_size
    shuffled = [x[torch.randperm(len(x), generator=rng)[:most]] for x in (generated, reference)]
    for subset in range(subsets):
        part = slice(subset * subset_size, (subset + 1) * subset_size)
        estimates.append(block_mmd(shuffled[0][part], shuffled[1][part]))
    values = torch.tensor(estimates, dtype=torch.float64)
    if not values.isfinite().all():
        raise MetricUnavailable("features are not finite")
    return values.mean().item(), (values.std() / subsets**0.5).item()


def block_mmd(x: Tensor, y: Tensor) -> float:
    """Unbiased squared MMD of two sets ``[n, D]`` of equal size, in float64."""
    x, y = x.double(), y.double()
    count, dim = x.shape
    within = 0.0
    for z in (x, y):
        kernel = (z @ z.T / dim + 1) ** 3
        within += (kernel.sum() - kernel.trace()).item() / (count * (count - 1))
    across = ((x @ y.T / dim + 1) ** 3).mean().item()
    return within - 2 * across

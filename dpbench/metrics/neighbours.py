"""Distances to nearest neighbours, a chunk of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = ["distance_chunks", "kth_neighbour_radius", "nearest"]

CHUNK = 500


def distance_chunks(queries: Tensor, points: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield rows and their squared distances ``[rows, len(points)]``.

    Both sets ``[N, D]`` and ``[M, D]`` are centred on ``points`` first, which
    keeps float32 accurate; float64 input stays float64.
    """
    centre = points.mean(0)
    points = points - centre
    norms = points.square().sum(1)
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, min(start + CHUNK, len(queries)))
        chunk = queries[rows] - centre
        squared = torch.addmm(norms, chunk, points.T, alpha=-2)
        yield rows, squared.add_(chunk.square().sum(1, keepdim=True)).clamp_(min=0)


def kth_neighbour_radius(points: Tensor, *ks: int) -> list[Tensor]:
    """Squared distance of each point to its k-th nearest other point, ``[N]`` per ``k``."""
    radii = torch.empty(len(ks), len(points), dtype=points.dtype)
    for rows, squared in distance_chunks(points, points):
        own = torch.arange(rows.start, rows.stop)
        squared[own - rows.start, own] = torch.inf
        smallest = squared.topk(max(ks), dim=1, largest=False).values
        for index, k in enumerate(ks):
            radii[index, rows] = smallest[:, k - 1]
    return list(radii)


def nearest(queries: Tensor, points: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
    """Squared distances to, and indices of, the ``count`` nearest points, ``[N, count]``."""
    distances = torch.empty(len(queries), count, dtype=queries.dtype)
    indices = torch.empty(len(queries), count, dtype=torch.int64)
    for rows, squared in distance_chunks(queries, points):
        distances[rows], indices[rows] = squared.topk(count, dim=1, largest=False)
    return distances, indices

"""Fidelity and diversity apart: precision, recall, density and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dpbench.api import MetricUnavailable
from dpbench.metrics.neighbours import distance_chunks, kth_neighbour_radius

__all__ = ["Manifold", "Prdc", "prdc", "subsample"]


@dataclass(frozen=True)
class Prdc:
    """Precision, recall and coverage in ``[0, 1]``; density at least 0, 1 when equal."""

    precision: float
    recall: float
    density: float
    coverage: float


@dataclass(frozen=True)
class Manifold:
    """Points ``[N, D]``, float64, with squared radii ``[N]`` of their neighbourhoods.

    ``wide`` reaches the neighbour that precision and recall use, ``dense`` the
    one that density and coverage use.
    """

    points: Tensor
    wide: Tensor
    dense: Tensor

    @classmethod
    def of(cls, features: Tensor, k: int, k_density: int) -> Manifold:
        """Measure each point's neighbourhood.

        Raises:
            MetricUnavailable: too few points for ``k``, or one that is not finite.
        """
        if len(features) <= max(k, k_density):
            raise MetricUnavailable(
                f"k = {max(k, k_density)} needs more than {max(k, k_density)} images, "
                f"not {len(features)}"
            )
        if not features.isfinite().all():
            raise MetricUnavailable("features are not finite")
        points = features.double()
        return cls(points, *kth_neighbour_radius(points, k, k_density))


def prdc(generated: Manifold, reference: Manifold, k_density: int = 5) -> Prdc:
    """Compare two sets by their neighbourhoods, a chunk of rows at a time.

    Precision: share of generated points within some reference point's radius;
    recall: the same with the sets exchanged (Kynkäänniemi et al. 2019). Density:
    mean number of reference neighbourhoods around a generated point, over k;
    coverage: share of reference neighbourhoods that hold a generated point
    (Naeem et al. 2020).
    """
    precise = dense = 0
    count = len(reference.points)
    recalled = torch.zeros(count, dtype=torch.bool)
    covered = torch.zeros(count, dtype=torch.bool)
    for rows, squared in distance_chunks(generated.points, reference.points):
        within = squared <= reference.dense
        precise += int((squared <= reference.wide).any(1).sum())
        dense += int(within.count_nonzero())
        covered |= within.any(0)
        recalled |= (squared <= generated.wide[rows, None]).any(0)
    total = len(generated.points)
    return Prdc(
        precision=precise / total,
        recall=int(recalled.sum()) / count,
        density=dense / (k_density * total),
        coverage=int(covered.sum()) / count,
    )


def subsample(features: Tensor, count: int, seed: int = 2020) -> Tensor:
    """Choose ``count`` rows at random, or all in a random order if there are fewer."""
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))
    return features[order[:count]]

"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dpbench.api import MetricUnavailable

__all__ = ["Statistics", "frechet_distance"]

CHUNK = 4096


@dataclass(frozen=True)
class Statistics:
    """``mean`` ``[D]`` and unbiased ``covariance`` ``[D, D]`` of ``count`` features, float64."""

    mean: Tensor
    covariance: Tensor
    count: int

    @classmethod
    def of(cls, features: Tensor, device: torch.device | None = None) -> Statistics:
        """Fit ``features`` ``[N, D]``, N at least 2, in float64, a chunk at a time.

        On ``device``, if given, which must know float64; else where they are.

        Raises:
            MetricUnavailable: fewer than two features, or one that is not finite.
        """
        count, dim = features.shape
        if count < 2:
            raise MetricUnavailable(f"a covariance needs at least 2 images, not {count}")
        device = device or features.device
        chunks = features.split(CHUNK)
        mean = torch.stack([chunk.to(device).double().sum(0) for chunk in chunks]).sum(0) / count
        if not mean.isfinite().all():
            raise MetricUnavailable("features are not finite")
        covariance = torch.zeros(dim, dim, dtype=torch.float64, device=device)
        for chunk in chunks:
            centred = chunk.to(device).double() - mean
            covariance.addmm_(centred.T, centred)
        return cls(mean, covariance / (count - 1), count)

    @cached_property
    def sqrt_covariance(self) -> Tensor:
        """The symmetric square root of the covariance; it may be singular."""
        values, vectors = torch.linalg.eigh(self.covariance)
        root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
        return root


def frechet_distance(generated: Statistics, reference: Statistics) -> float:
    """Squared Fréchet distance between two Gaussians, at least 0; 0 when they are equal.

    ``|m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S2^1/2 S1 S2^1/2)^1/2)``. The inner
    product is symmetric, so its eigenvalues are real and singular covariances
    need no special care; the square root of the reference is computed once.
    """
    root = reference.sqrt_covariance
    mean, covariance = generated.mean.to(root.device), generated.covariance.to(root.device)
    values = torch.linalg.eigvalsh(root @ covariance @ root)
    distance: Tensor = (
        (mean - reference.mean).square().sum()
        + covariance.trace()
        + reference.covariance.trace()
        - 2 * values.clamp(min=0).sqrt().sum()
    )
    return max(float(distance), 0.0)

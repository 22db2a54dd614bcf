"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dpbench.api import MetricUnavailable

__all__ = ["Moments", "Statistics", "frechet_distance"]

CHUNK = 4096


@dataclass
class Moments:
    """What statistics need to know of the features seen so far; grows batch by batch.

    Batches are merged by their own means (Chan et al. 1979), in float64: means far
    from zero cost no accuracy, and the result is that of all features at once to
    about 1e-15.

    Attributes:
        count: how many features were added.
        mean: ``[D]``, float64.
        scatter: ``[D, D]``, float64: the sum of outer products of centred features.
    """

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def empty(cls, dim: int, device: torch.device | str = "cpu") -> Moments:
        """Start without features, on a ``device`` that knows float64."""
        zeros = torch.zeros(dim, dim, dtype=torch.float64, device=device)
        return cls(0, zeros[0].clone(), zeros)

    def add(self, features: Tensor) -> None:
        """Take in ``features`` ``[B, D]``, from any device."""
        if not len(features):
            return
        batch = features.to(self.mean.device, torch.float64, copy=True)
        total = self.count + len(batch)
        mean = batch.mean(0)
        batch -= mean
        self.scatter.addmm_(batch.T, batch)
        step = mean - self.mean
        self.scatter.addr_(step, step, alpha=self.count * len(batch) / total)
        self.mean += step * (len(batch) / total)
        self.count = total

    def statistics(self, device: torch.device | None = None) -> Statistics:
        """Return mean and covariance, on ``device`` if given.

        Raises:
            MetricUnavailable: fewer than two features, or one that is not finite.
        """
        if self.count < 2:
            raise MetricUnavailable(f"a covariance needs at least 2 images, not {self.count}")
        if not self.mean.isfinite().all():
            raise MetricUnavailable("features are not finite")
        covariance = self.scatter / (self.count - 1)
        return Statistics(self.mean.to(device), covariance.to(device), self.count)


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
        moments = Moments.empty(features.shape[1], device or features.device)
        for chunk in features.split(CHUNK):
            moments.add(chunk)
        return moments.statistics()

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

"""A one-shot DP Gaussian on latents, and how a third party ships it for dpbench.

Mean and second moment leave the private data in a single noisy sum; everything
else is post-processing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents

__all__ = ["Gaussian", "GaussianParams", "register_generators"]


class GaussianParams(Params):
    """Hyperparameters; the table ``[generators.gaussian]`` of benchmarks.toml sets them."""

    quantile: float = Field(
        0.99, gt=0, le=1, description="latents are clipped to this quantile of public norms"
    )
    mean_share: float = Field(
        0.1, gt=0, lt=1, description="part of the sensitivity (squared) that goes to the mean"
    )
    radius_per_clip: float | None = Field(
        None, gt=0, description="clip latents to this times the trial's clip instead"
    )


class Gaussian(PrivateGenerator):
    """N(mean, covariance) of the private latents, both released by one Gaussian mechanism.

    The radius comes from public latents, so by default the trial's clip changes
    nothing: a grid's clip axis gives equal rows. With ``radius_per_clip`` the clip
    scales the radius.
    """

    name = "gaussian"
    label = "Gaussian"
    version = "0.1.0"
    Params = GaussianParams
    cost = 1.0

    def __init__(self, params: GaussianParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.mean = torch.zeros(latent_dim)
        self.factor = torch.eye(latent_dim)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Release the moments and turn them into a valid Gaussian."""
        params: GaussianParams = self.params
        centre = public.mean(0)
        if params.radius_per_clip:
            radius = params.radius_per_clip * private.clip
        else:
            radius = float((public - centre).norm(dim=1).quantile(params.quantile))
        upper = torch.triu_indices(private.dim, private.dim).unbind()
        weights = _isometry(private.dim)
        to_mean = math.sqrt(params.mean_share) / radius
        to_moment = math.sqrt(1 - params.mean_share) / radius**2

        def contribution(z: Tensor) -> Tensor:
            x = _into_ball(z - centre.to(z), radius)
            moment = (x[:, :, None] * x[:, None, :])[:, upper[0], upper[1]]
            return torch.cat([to_mean * x, to_moment * weights.to(z) * moment], dim=1)

        # |x| <= radius, so a row has norm at most sqrt(mean_share + (1 - mean_share)) = 1.
        noise_multiplier = private.noise_multiplier(sampling_rate=1.0, steps=1)
        total = private.release_sum(
            contribution, clip=1.0, noise_multiplier=noise_multiplier, name="moments"
        ).double()
        mean = total[: private.dim] / to_mean / private.size
        moment = _unpack(total[private.dim :] / weights / to_moment / private.size, private.dim)
        self.mean = centre + mean.float()
        self.factor = _root(moment - mean.outer(mean)).float()

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ``[count, d]`` latents."""
        return self.mean + torch.randn(count, self.latent_dim, generator=rng) @ self.factor

    def state(self) -> dict[str, Tensor]:
        """Return the mean and the root of the covariance."""
        return {"mean": self.mean, "factor": self.factor}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.mean, self.factor = state["mean"], state["factor"]


def _into_ball(z: Tensor, radius: float) -> Tensor:
    scale: Tensor = radius / z.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return z * scale.clamp_max(1)


def _isometry(dim: int) -> Tensor:
    """Weights of the upper triangle that keep a symmetric matrix's Frobenius norm."""
    rows, columns = torch.triu_indices(dim, dim).unbind()
    return torch.where(rows == columns, 1.0, math.sqrt(2)).double()


def _unpack(triangle: Tensor, dim: int) -> Tensor:
    """Rebuild a symmetric matrix from its upper triangle."""
    rows, columns = torch.triu_indices(dim, dim).unbind()
    matrix = triangle.new_zeros(dim, dim)
    matrix[rows, columns] = triangle
    matrix[columns, rows] = triangle
    return matrix


def _root(covariance: Tensor) -> Tensor:
    """Project to the positive semidefinite matrices and return the symmetric root."""
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    root: Tensor = vectors * values.clamp_min(0).sqrt() @ vectors.T
    return root


@hookimpl
def register_generators(register) -> None:  # type: ignore[no-untyped-def]
    """Called by dpbench once the package is installed."""
    register(Gaussian)

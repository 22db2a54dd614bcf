"""What a descent minimises, for every image of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from dpbench.api import PublicModel

__all__ = ["Objective", "within"]


class Objective:
    """Pixel error summed over an image, plus a pull towards the public latents.

    Args:
        images: float ``[B, C, H, W]`` in [0, 1].
        knee: where the error turns from quadratic to linear; 0 for the squared error.
        prior: weight of half the squared Mahalanobis distance to public latents.
        radius: bound on every latent's norm, ``[B, 1]``, or none.
    """

    def __init__(
        self,
        model: PublicModel,
        images: Tensor,
        knee: float,
        prior: float,
        radius: Tensor | None = None,
    ) -> None:
        self.model, self.images, self.radius = model, images, radius
        self.knee, self.prior = knee, prior
        self.mean, self.precision = model.latent_statistics()

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return values ``[B]`` and gradients ``[B, d]`` at ``z`` ``[B, d]``."""
        z = z.detach().requires_grad_(True)
        error = (self.model.decode(z) - self.images).square()
        if self.knee:
            error = (error + self.knee**2).sqrt() - self.knee
        value = error.flatten(1).sum(1)
        (gradient,) = torch.autograd.grad(value.sum(), z)
        value = value.detach()
        if self.prior:
            offset = z.detach() - self.mean
            pull = self.prior * offset @ self.precision
            gradient, value = gradient + pull, value + 0.5 * (offset * pull).sum(1)
        return value, gradient

    def project(self, z: Tensor) -> Tensor:
        """Bring latents back within their bound."""
        return z if self.radius is None else within(z, self.radius)

    def tangential(self, z: Tensor, gradient: Tensor) -> Tensor:
        """Drop from a gradient at ``z`` the part along which the bound forbids descent."""
        if self.radius is None:
            return gradient
        norm = z.norm(dim=1, keepdim=True)
        normal = z / norm.clamp_min(1e-12)
        slope = (gradient * normal).sum(1, keepdim=True)
        held = (slope < 0) & (norm > self.radius * (1 - 1e-5))
        return torch.where(held, gradient - slope * normal, gradient)


def within(z: Tensor, radius: Tensor) -> Tensor:
    """Scale rows of ``z`` ``[B, d]`` back to norm ``radius`` ``[B, 1]`` where they exceed it."""
    scale: Tensor = (radius / z.norm(dim=1, keepdim=True).clamp_min(1e-12)).clamp_max(1)
    return z * scale

"""Gradient descent through a decoder, every image by itself.

No step reads another record: the error is a sum over records, Adam works
element by element, the number of steps is fixed. A latent therefore depends on
its own image alone, as a per-record privacy guarantee requires.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor

from dpbench.api import Params, PublicModel

__all__ = ["DescentParams", "descend"]


class DescentParams(Params):
    """How to descend.

    Attributes:
        steps: Adam steps for every image; their rate falls to 0 along a cosine.
        learning_rate: of the first step, in latent units.
        prior: weight of half the squared Mahalanobis distance to the public
            latents, against the pixel error summed over an image: it
            keeps latents where a generator can learn them.
        knee: the pixel error is quadratic below it and linear above (Charbonnier),
            as the default public models are trained; 0 for the squared error.
        beta1, beta2: Adam's.
        batch: images descended together; results do not depend on it.
        warm_start: begin at the public model's own guess where it has one.
    """

    steps: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=0.1, gt=0)
    prior: float = Field(default=0.0, ge=0)
    knee: float = Field(default=0.1, ge=0)
    beta1: float = Field(default=0.8, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    batch: int = Field(default=500, ge=1)
    warm_start: bool = True


def descend(
    model: PublicModel,
    images: Tensor,
    start: Tensor,
    params: DescentParams,
    project: Callable[[Tensor], Tensor] = lambda z: z,
) -> Tensor:
    """Minimise ``error(decode(z), x) + prior/2 (z - m)' P (z - m)`` for one batch.

    Args:
        model: its ``latent_statistics`` give m and P.
        images: float ``[B, C, H, W]`` in [0, 1].
        start: ``[B, d]``.
        project: applied to the latents after each step.
    """
    mean, precision = model.latent_statistics()
    z, first, second = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    for step in range(params.steps):
        z.requires_grad_(True)
        error = (model.decode(z) - images).square()
        if params.knee:
            error = (error + params.knee**2).sqrt()
        (gradient,) = torch.autograd.grad(error.sum(), z)
        with torch.no_grad():
            z = z.detach()
            gradient = gradient + params.prior * (z - mean) @ precision
            first.lerp_(gradient, 1 - params.beta1)
            second.lerp_(gradient.square(), 1 - params.beta2)
            rate = params.learning_rate * 0.5 * (1 + math.cos(math.pi * step / params.steps))
            ascent = first / (1 - params.beta1 ** (step + 1))
            scale = (second / (1 - params.beta2 ** (step + 1))).sqrt() + 1e-8
            z = project(z - rate * ascent / scale)
    return z.detach()

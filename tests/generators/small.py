"""A small private data set of two clusters, and trials on it."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.session import PrivateSession

DIM = 4
G = TypeVar("G", bound=PrivateGenerator)


def private_latents(size: int = 2000) -> Tensor:
    """Two clusters, 70 and 30 per cent, at -2.5 and 2.5 on the first axis."""
    rng = torch.Generator().manual_seed(11)
    latents = 0.5 * torch.randn(size, DIM, generator=rng)
    latents[:, 0] += torch.where(torch.rand(size, generator=rng) < 0.7, -2.5, 2.5)
    return latents


def public_latents(size: int = 2000) -> Tensor:
    """Standard normal, as after whitening, scaled to reach the private ones."""
    return 1.5 * torch.randn(size, DIM, generator=torch.Generator().manual_seed(12))


def handle(epsilon: float = math.inf, clip: float = 0.5, seed: int = 0) -> PrivateLatents:
    budget, context = Budget(epsilon, 1e-6), Context(seed)
    return PrivateSession(private_latents(), budget, clip, context, noise_seed=seed).handle


def fit(cls: type[G], private: PrivateLatents, **settings: Any) -> G:
    """Fit one small model."""
    model = cls(cls.Params(**{"hidden": (16,), **settings}), DIM)
    model.fit(private, public_latents(), private.context)
    return model

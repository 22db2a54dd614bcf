"""Fits of a generator outside a run: for a package's own tests of how well it learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator
from dpbench.api.privacy import Budget, PrivateLatents
from dpbench.privacy.session import PrivateSession

__all__ = ["Fit", "fit"]


@dataclass(frozen=True)
class Fit:
    """A fitted generator, and the handle it learnt through, with its ledger."""

    generator: PrivateGenerator
    private: PrivateLatents

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Draw ``[count, d]``."""
        return self.generator.sample(count, torch.Generator().manual_seed(seed))


def fit(
    plugin: type[PrivateGenerator],
    private: Tensor,
    public: Tensor,
    *,
    epsilon: float = 1.0,
    delta: float = 1e-6,
    clip: float = 1.0,
    seed: int = 0,
    **params: Any,
) -> Fit:
    """Fit ``plugin`` to latents ``[N, d]`` as the harness does.

    Args:
        private, public: standardised latents; a private row that is not finite is a null
            record.
        epsilon, delta: the budget; an infinite epsilon adds no noise.
        clip: the trial's L2 clip.
        seed: of free draws and, apart from them, of noise.
        params: hyperparameters.

    >>> from dpbench.generators.gan import GAN
    >>> latents = torch.zeros(50, 2)
    >>> fit(GAN, latents, latents, steps=2, batch=10).private.ledger.mechanisms[0].count
    2
    """
    context = Context(seed)
    budget = Budget(epsilon, delta)
    session = PrivateSession(private, budget, clip, context, noise_seed=seed + 1)
    generator = plugin(plugin.Params.model_validate(params), private.shape[1])
    generator.fit_lanes([generator], [session.handle], public, [context])
    return Fit(generator, session.handle)

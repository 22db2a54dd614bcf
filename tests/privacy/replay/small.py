"""Small latents, and the base of every generator in the zoo."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dpbench.api import Params, PrivateGenerator
from dpbench.privacy.handle import Budget
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.replay import ReplayLane, ReplayVerdict, replay

EPSILON, DELTA, CLIP, DIM, SIZE = 1.0, 1e-5, 1.0, 4, 400
PUBLIC = torch.randn(300, DIM, generator=torch.Generator().manual_seed(1))
PRIVATE = 0.5 + torch.randn(SIZE, DIM, generator=torch.Generator().manual_seed(2))


class Animal(PrivateGenerator):
    """A Gaussian around ``mean``; what else is learned stays in ``extra``."""

    label = name = "animal"

    def __init__(self, params: Any = None, latent_dim: int = DIM) -> None:
        super().__init__(params, latent_dim)
        self.mean = torch.zeros(latent_dim)
        self.extra: dict[str, Tensor] = {}

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        return self.mean + 0.3 * torch.randn(count, self.latent_dim, generator=rng)

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean, **self.extra}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.extra = dict(state)
        self.mean = self.extra.pop("mean")


def noisy_mean(private: Any, share: float = 1.0, name: str = "mean") -> Tensor:
    """Release the mean for ``share`` of what is left of the budget."""
    sigma = private.noise_multiplier(share=share)
    total = private.release_sum(lambda z: z, clip=private.clip, noise_multiplier=sigma, name=name)
    return total / private.size


def declared(private: Any, name: str = "mean", count: int = 1) -> tuple[Tensor, float]:
    """Take the latents themselves, and promise Gaussian releases that spend the budget."""
    sigma = private.noise_multiplier(steps=count)
    return private.raw([Mechanism(name=name, noise_multiplier=sigma, count=count)]), sigma


def clipped(z: Tensor, clip: float) -> Tensor:
    return z * (clip / z.norm(dim=1, keepdim=True)).clamp_max(1)


def lane(epsilon: float = EPSILON, clip: float = CLIP, seed: int = 5) -> ReplayLane:
    return ReplayLane(Params(), Budget(epsilon, DELTA), clip, seed)


def replayed(generator: type[PrivateGenerator], **options: Any) -> ReplayVerdict:
    """Replay two trials of ``generator`` that differ in everything lanes may differ in."""
    lanes = [lane(4 * EPSILON, CLIP / 2, seed=6), lane()]
    return replay(generator, lanes, PUBLIC, PRIVATE, **options)

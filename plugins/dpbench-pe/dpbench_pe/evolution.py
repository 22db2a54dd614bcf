"""The algorithm: votes, selection, variation (Lin et al. 2024, Algorithms 1 and 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.api.privacy import PrivateLatents

if TYPE_CHECKING:
    from dpbench_pe import PEParams

__all__ = ["Recipe", "evolve"]

_LEAST, _MOST = 500, 4000


@dataclass(frozen=True)
class Recipe:
    """How a population evolves.

    Args:
        population: latents that are voted on.
        rounds: votes.
        noise_multiplier: of each vote.
        first, last: standard deviation of variations after the first and the last vote.
        threshold: votes below this are none.
    """

    population: int
    rounds: int
    noise_multiplier: float
    first: float
    last: float
    threshold: float

    @classmethod
    def automatic(cls, params: PEParams, private: PrivateLatents) -> Recipe:
        """Choose for the budget: about as many votes for a member as noise has deviations."""
        budget = private.budget
        rounds = params.rounds or (12 if budget.private and budget.epsilon < 0.5 else 20)
        noise = private.noise_multiplier(sampling_rate=1.0, steps=rounds)
        automatic = round(min(_MOST, max(_LEAST, private.size / max(noise, 1.0))))
        size = params.population or automatic
        return cls(size, rounds, noise, params.first, params.last, params.threshold * noise)

    def variation(self, turn: int) -> float:
        """Return the deviation of variations after vote ``turn``: a geometric fall."""
        return float(self.first * (self.last / self.first) ** (turn / max(1, self.rounds - 1)))


def evolve(private: PrivateLatents, recipe: Recipe, context: Context) -> Tensor:
    """Return the population that the last vote selects, ``[population, d]``."""
    rng = context.generator("evolution", context.device)
    size = (recipe.population, private.dim)
    population = torch.randn(size, generator=rng, device=context.device)
    for turn in range(recipe.rounds):
        shares = vote(private, population, recipe, turn)
        chosen = torch.multinomial(shares, len(population), replacement=True, generator=rng)
        population = population[chosen]
        if turn + 1 < recipe.rounds:
            noise = torch.randn(size, generator=rng, device=context.device)
            population = population + recipe.variation(turn) * noise
        context.progress(turn + 1, recipe.rounds)
    return population


def vote(private: PrivateLatents, population: Tensor, recipe: Recipe, turn: int) -> Tensor:
    """Return each member's share of the private records' noisy votes, ``[population]``."""
    votes = private.noisy_count(
        lambda z: torch.cdist(z, population).argmin(1),
        len(population),
        noise_multiplier=recipe.noise_multiplier,
        name=f"votes-{turn}",
    )
    kept = torch.where(votes > recipe.threshold, votes, 0)
    return kept if kept.sum() > 0 else torch.ones_like(votes)

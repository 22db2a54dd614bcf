"""Private evolution in a public model's latent space: nothing is trained.

Lin, Gopi, Kulkarni, Nori and Yekhanin 2024, "Differentially private synthetic data via
foundation model APIs 1: images" (ICLR).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.api.privacy import PrivateLatents
from dpbench_pe.evolution import Recipe, evolve

__all__ = ["PE", "PEParams", "register_generators"]


class PEParams(Params):
    """Hyperparameters; the table ``[generators.pe]`` sets them, ``None`` is automatic."""

    population: int | None = Field(None, ge=2, description="latents that are voted on")
    rounds: int | None = Field(None, ge=1, description="votes; each is a release")
    first: float = Field(0.7, gt=0, description="variation after the first vote")
    last: float = Field(0.3, gt=0, description="variation after the last vote, and of samples")
    threshold: float = Field(1.5, ge=0, description="votes below so many noise deviations are none")


class PE(PrivateGenerator):
    """A population of latents that private records vote on, resampled and varied.

    The random API draws from N(0, I), the distribution of public latents, the variation
    API adds noise. A record votes for the latent nearest to it, once in a round: the
    histogram's sensitivity is 1, and the trial's clip changes nothing.
    """

    name = "pe"
    label = "PE"
    version = "0.1.0"
    Params: ClassVar[type[Params]] = PEParams
    cost = 10.0
    params: PEParams

    def __init__(self, params: PEParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.population = torch.zeros(1, latent_dim)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Spend all of the budget on votes."""
        self.population = evolve(private, self.recipe(private), context).to("cpu")

    def recipe(self, private: PrivateLatents) -> Recipe:
        """Choose how many vote, how often, for the budget."""
        return Recipe.automatic(self.params, private)

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Vary members of the last population once more, ``[count, d]``."""
        which = torch.randint(len(self.population), (count,), generator=rng)
        noise = torch.randn(count, self.latent_dim, generator=rng)
        return self.population[which] + self.params.last * noise

    def state(self) -> dict[str, Tensor]:
        """Return the last population."""
        return {"population": self.population}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.population = state["population"]


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(PE)

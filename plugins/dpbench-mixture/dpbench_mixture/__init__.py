"""Gaussians and mixtures of them, released by a few noisy sums: generators without training.

Everything after the release is post-processing, so the whole budget buys it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.generators.lane_prior import PriorParams, mixture_recipe
from dpbench.generators.mixture import Mixture, MixtureRecipe, release_mixture

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents

__all__ = [
    "GaussianGenerator",
    "GaussianParams",
    "MixtureGenerator",
    "MixtureParams",
    "register_generators",
]


class GaussianParams(Params):
    """A single Gaussian has nothing to choose."""


class MixtureParams(Params):
    """Hyperparameters; the table ``[generators.mixture]`` of benchmarks.toml sets them."""

    components: int | None = Field(
        None, ge=1, description="Gaussians; automatic: the more, the less noise there is"
    )
    rounds: int | None = Field(
        None, ge=0, description="how often means move before the covariances come; each a release"
    )


class _Released(PrivateGenerator):
    """Samples a mixture that :meth:`fit` released; the trial's clip changes nothing.

    Radii come from public latents, so a grid's clip axis repeats the same method
    with other noise. With labels every class is released by itself, for one price.
    """

    version = "0.1.0"
    conditional = True
    cost = 2.0
    params: MixtureParams | GaussianParams

    def __init__(
        self, params: MixtureParams | GaussianParams, latent_dim: int, classes: int = 1
    ) -> None:
        super().__init__(params, latent_dim, classes)
        self.mixture = Mixture.standard(latent_dim)

    def recipe(self, private: PrivateLatents) -> MixtureRecipe:
        """Choose the mixture's size for the budget."""
        raise NotImplementedError

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Spend all of the budget on the release."""
        recipe = self.recipe(private)
        noise = private.noise_multiplier(sampling_rate=1.0, steps=recipe.releases)
        recipe = replace(recipe, noise_multiplier=noise)
        public = public.to(context.device)
        self.mixture = release_mixture(private, public, recipe, self.name).to("cpu")

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw ``[count, d]`` latents, of the classes ``labels``."""
        return self.mixture.sample(count, rng, labels)

    def state(self) -> dict[str, Tensor]:
        """Return weights, means and Cholesky factors."""
        mixture = self.mixture
        return {"weights": mixture.weights, "means": mixture.means, "factors": mixture.factors}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        parts = state["weights"], state["means"], state["factors"]
        self.mixture = Mixture(*parts, classes=self.classes)


class GaussianGenerator(_Released):
    """N(mean, covariance) of the private latents, from one noisy sum of moments."""

    name = "gaussian"
    label = "Gaussian"
    Params: ClassVar[type[Params]] = GaussianParams

    def recipe(self, private: PrivateLatents) -> MixtureRecipe:
        """One component, one release."""
        return MixtureRecipe(components=1, rounds=0, refinements=0, noise_multiplier=0.0)


class MixtureGenerator(_Released):
    """A mixture of Gaussians with full covariances, from three noisy sums.

    Noisy expectation-maximisation (Park et al. 2017 release its sufficient
    statistics by the Gaussian mechanism): moments of all records; means of the records nearest
    to each of K centres; weights, means and covariances of each component.
    """

    name = "mixture"
    label = "Mixture"
    Params: ClassVar[type[Params]] = MixtureParams
    params: MixtureParams

    def recipe(self, private: PrivateLatents) -> MixtureRecipe:
        """As large a mixture as the budget carries, unless told otherwise."""
        wanted = PriorParams(
            prior="mixture", components=self.params.components, prior_rounds=self.params.rounds
        )
        return mixture_recipe(wanted, private, share=1.0)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(GaussianGenerator)
    register(MixtureGenerator)

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
from dpbench.generators.mixture import (
    Mixture,
    MixtureRecipe,
    maximise,
    public_radius,
    release_mixture,
)
from dpbench.privacy.lanes import LaneSchedule, release_noise
from dpbench_mixture.classes import components_of_classes, draw_own, release_classes
from dpbench_mixture.descent import descend

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents

__all__ = [
    "DescentMixture",
    "DescentParams",
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
    width: float = Field(
        2.2, gt=0, description="with labels: what a class's covariances are multiplied by"
    )


class DescentParams(Params):
    """Hyperparameters; the table ``[generators.mixture-sgd]`` sets them."""

    components: int | None = Field(None, ge=1, description="Gaussians; automatic: by the budget")
    steps: int = Field(40, ge=1, description="private gradients")
    batch: int | None = Field(
        None, ge=1, description="expected batch; automatic: 4,096, all records below ε = 0.5"
    )
    gaussian_share: float | None = Field(None, gt=0, lt=1, description="buys the first Gaussian")
    descent_share: float | None = Field(None, gt=0, lt=1, description="buys the steps")


class _Released(PrivateGenerator):
    """Samples a mixture that :meth:`fit` released; the trial's clip changes nothing.

    Radii come from public latents, so a grid's clip axis repeats the same method
    with other noise. With labels every class is released by itself, for one price.
    """

    version = "0.1.0"
    conditional = True
    cost = 2.0
    params: MixtureParams | GaussianParams | DescentParams

    def __init__(
        self,
        params: MixtureParams | GaussianParams | DescentParams,
        latent_dim: int,
        classes: int = 1,
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
    to each of K centres; weights, means and covariances of each component. With labels
    see :func:`~dpbench_mixture.classes.release_classes`; ``rounds`` then changes nothing.
    """

    name = "mixture"
    label = "Mixture"
    Params: ClassVar[type[Params]] = MixtureParams
    params: MixtureParams

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Release one mixture; with labels one a class, around what classes share."""
        if private.classes == 1:
            super().fit(private, public, context)
        else:
            count = self.params.components or components_of_classes(private)
            found = release_classes(private, count, self.name).to("cpu")
            self.mixture = replace(found, factors=found.factors * self.params.width**0.5)

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw ``[count, d]`` latents, of the classes ``labels`` (see :func:`draw_own`)."""
        if labels is None:
            return super().sample(count, rng)
        return draw_own(self.mixture, labels, rng)

    def recipe(self, private: PrivateLatents) -> MixtureRecipe:
        """As large a mixture as the budget carries, unless told otherwise."""
        wanted = PriorParams(
            prior="mixture", components=self.params.components, prior_rounds=self.params.rounds
        )
        return mixture_recipe(wanted, private, share=1.0)


class DescentMixture(_Released):
    """A mixture whose centres are learned by DP-SGD.

    A Gaussian is released, its draws give centres, DP-SGD moves them, and the rest of the
    budget releases weights, means and covariances around them, once.
    """

    name = "mixture-sgd"
    label = "Mixture-SGD"
    conditional = False
    Params: ClassVar[type[Params]] = DescentParams
    params: DescentParams

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Spend the budget on a Gaussian, on steps and on the mixture, in this order."""
        public = public.to(context.device)
        radius, heavy = public_radius(public), private.budget.epsilon < 3
        first = self.params.gaussian_share or (0.3 if heavy else 0.05)
        second = self.params.descent_share or (0.2 if heavy else 0.25)
        one = MixtureRecipe(1, 0, 0, release_noise(private, first, 1))
        base = release_mixture(private, public, one, f"{self.name}:start")
        count = self.params.components or self._components(private)
        schedule = self._schedule(private, second / (1 - first))
        means = descend(private, base, count, schedule, f"{self.name}:descent")
        weights = means.new_full((count,), 1 / count)
        around = Mixture(weights, means, 0.75 * base.factors.to(means).repeat(count, 1, 1))
        refinements = 1 if private.budget.private else 6
        last = MixtureRecipe(count, 0, refinements, private.noise_multiplier(steps=refinements))
        for turn in range(refinements):
            around = maximise(private, around, last, radius, f"{self.name}:refine-{turn}")
        self.mixture = around.to("cpu")

    def _components(self, private: PrivateLatents) -> int:
        """Half as many again as one step carries; no more than the mixture's own most."""
        single = mixture_recipe(PriorParams(prior="mixture"), private, share=1.0).components
        return max(single, min(40, round(1.5 * single)))

    def _schedule(self, private: PrivateLatents, share: float) -> LaneSchedule:
        tight = private.budget.epsilon < 0.5  # sampling gains nothing there
        batch = self.params.batch or (private.size if tight else 4096)
        steps, rate = self.params.steps, min(1.0, batch / private.size)
        noise = private.noise_multiplier(rate, steps, share=share)
        return LaneSchedule(rate, steps, private.clip, noise)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(GaussianGenerator)
    register(MixtureGenerator)
    register(DescentMixture)

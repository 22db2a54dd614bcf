"""A Gaussian says where latents of a class lie, a classifier which of its draws are of the class.

To tell classes apart needs less of the budget than to say how each is distributed: a loose
distribution will do where a classifier corrects it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.generators.mixture import Mixture
from dpbench_mixture import GaussianGenerator
from dpbench_mixture.classes import (
    Shares,
    _common,
    _lifted,
    _means,
    _tightness,
    release_classes,
)
from dpbench_mixture.classifier import Classifier, Lessons, learn

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents

__all__ = ["TaughtGaussian", "TaughtParams", "draw_taught", "register_generators"]

_DRAWS = 10
"""How often a latent is drawn again until the classifier takes it for its class's."""
_HEAVY = 0.5
"""Below this ε classes share their covariance."""
_REACH, _COMMON = 0.01, 0.25
"""What that covariance costs, as :class:`Shares` has it."""


class TaughtParams(Params):
    """Hyperparameters; the table ``[generators.taught]`` of benchmarks.toml sets them."""

    share: float = Field(0.75, gt=0, lt=1, description="of ε, for the classifier")
    width: float | None = Field(
        None, gt=0, description="what covariances are multiplied by; automatic: by the budget"
    )


class TaughtGaussian(GaussianGenerator):
    """A Gaussian of each class, whose draws a classifier learned by DP-SGD sorts out.

    Without labels there is nothing to tell apart, and it is a Gaussian.
    """

    name = "taught"
    label = "Taught"
    version = "0.1.0"
    cost = 20.0
    Params: ClassVar[type[Params]] = TaughtParams
    params: TaughtParams  # type: ignore[assignment]

    def __init__(self, params: TaughtParams, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)  # type: ignore[arg-type]
        self.classifier = Classifier.of_sizes(latent_dim, 0, classes)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Spend ``share`` of ε on the classifier, the rest on the Gaussians."""
        if private.classes == 1:
            super().fit(private, public, context)
            return
        lessons = Lessons.of(private)
        self.classifier = learn(private, lessons, self.params.share, f"{self.name}:classifier")
        epsilon = private.budget.epsilon if private.budget.private else math.inf
        if epsilon < _HEAVY:
            found, width = release_shared(private, self.name), 1.0
        else:
            found = release_classes(private, 1, self.name)
            width = 2.2 if epsilon < 3 else 3.5
        width = self.params.width or width
        self.mixture = replace(found, factors=found.factors * width**0.5).to("cpu")

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw ``[count, d]`` latents, of the classes ``labels`` (see :func:`draw_taught`)."""
        if labels is None:
            return super().sample(count, rng)
        return draw_taught(self.mixture, self.classifier, labels, rng)

    def state(self) -> dict[str, Tensor]:
        """Return weights, means, Cholesky factors, and the classifier's parameters ``[1, P]``."""
        return {**super().state(), "classifier": self.classifier.flat}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        super().restore(state)
        self.classifier = Classifier.of_state(state["classifier"], self.latent_dim, self.classes)


def release_shared(private: PrivateLatents, name: str) -> Mixture:
    """Release a Gaussian for each class of labelled records, all of one covariance.

    The mean and covariance of all records first; then, for all that is left of the budget, means
    of classes. What these leave of the covariance is what each class has.
    """
    frame = _common(private, Shares(_REACH, _COMMON, means=0.0), name)
    views, reach = private.by_class(), _tightness(private) * math.sqrt(private.dim)
    counts, means = _means(views, frame, reach, views[0].noise_multiplier(), name)
    weights = counts / counts.sum()
    apart = means - weights @ means
    within = _lifted(torch.eye(private.dim).to(means) - (apart.T * weights) @ apart, 0.1)
    single = weights.new_ones(1)
    return Mixture.of_classes([frame.restore(single, mean[None], within[None]) for mean in means])


def draw_taught(
    mixture: Mixture, classifier: Classifier, labels: Tensor, rng: torch.Generator
) -> Tensor:
    """Draw a latent of each class in ``labels`` ``[N]`` that the classifier takes for it.

    What is still taken for another class's after ten draws more stays as it is.
    """
    latents = mixture.sample(len(labels), rng, labels)
    rows = torch.arange(len(labels))
    for _ in range(_DRAWS):
        rows = rows[classifier(latents[rows]).argmax(1) != labels[rows]]
        if not len(rows):
            break
        latents[rows] = mixture.sample(len(rows), rng, labels[rows])
    return latents


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(TaughtGaussian)

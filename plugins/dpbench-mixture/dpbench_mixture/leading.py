"""Many components where latents vary most, one Gaussian for the rest, and a classifier over both.

What a sum of second moments bears of noise grows with the square of the dimension. Along the
few directions in which latents vary most a class can afford many components; across them it
keeps one Gaussian, given where a latent lies along the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.generators.mixture import Mixture, spread
from dpbench.privacy.grouped import release_grouped_sum
from dpbench.privacy.lanes import release_noise
from dpbench_mixture.classes import (
    Frame,
    Shares,
    _common,
    _covariances,
    _lifted,
    _means,
    _outer,
    _seen_through_noise,
    _symmetric,
    _tightness,
    _within,
)
from dpbench_mixture.classifier import Lessons, learn
from dpbench_mixture.taught import TaughtGaussian, TaughtParams

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents

__all__ = ["TaughtMixture", "TaughtMixtureParams", "register_generators", "release_leading"]

_SHARES = Shares(reach=0.01, common=0.03, means=0.05, spread=0.15, centres=0.08)
"""What each release costs; the components' moments have what these and the classifier leave."""
_LEAST = 4
"""Fewer components are none."""
_MEAN, _COUNT = 0.5, 0.2
"""What a record adds to a mean, and to a count, in units of what it adds to a second moment."""


class TaughtMixtureParams(TaughtParams):
    """Hyperparameters; the table ``[generators.taught-mixture]`` of benchmarks.toml sets them."""

    share: float = Field(0.55, gt=0, lt=1, description="of ε, for the classifier")
    width: float | None = Field(
        None,
        gt=0,
        description="what half of the covariances are multiplied by; automatic: 3, or Taught's",
    )
    leading: int = Field(16, ge=1, description="directions along which there are components")
    components: int | None = Field(
        None, ge=1, description="Gaussians a class; automatic: by the budget"
    )


class TaughtMixture(TaughtGaussian):
    """Components of each class along the leading directions, draws sorted out by a classifier.

    Directions lead by the released covariance, so latents should have the scale that the
    public model gives them (``latents = { standardise = "scale" }``): there, what varies more
    shows more. Where the budget carries fewer than four components it is a ``Taught``.
    """

    name = "taught-mixture"
    label = "TaughtMixture"
    version = "0.1.0"
    Params: ClassVar[type[Params]] = TaughtMixtureParams
    params: TaughtMixtureParams

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Spend ``share`` of ε on the classifier, the rest on the mixture."""
        leading = min(self.params.leading, private.dim - 1)
        components = self.params.components or components_along(private, leading)
        if private.classes == 1 or leading < 1 or components < _LEAST:
            super().fit(private, public, context)
            return
        lessons = Lessons.of(private)
        self.classifier = learn(private, lessons, self.params.share, f"{self.name}:classifier")
        found = release_leading(private, components, leading, self.name)
        self.mixture = _both(found, self.params.width or 3.0).to("cpu")


def components_along(private: PrivateLatents, leading: int) -> int:
    """Return as many components a class as the budget carries, at most 40."""
    if not private.budget.private:
        return 40
    size = private.size / private.classes
    return min(40, round(size / (9 * release_noise(private, 1.0, 1) * leading)))


def release_leading(private: PrivateLatents, components: int, leading: int, name: str) -> Mixture:
    """Release ``components`` Gaussians of each class that differ along ``leading`` directions.

    First a Gaussian of each class, as :func:`~dpbench_mixture.classes.release_classes` does;
    what all classes have in common says which directions lead. Then, along these, each
    class's centres and their moments. The last sum has what is left of the budget.
    """
    gaussians = _gaussians(private, name)
    along, across = _directions(gaussians, leading)
    mixtures = []
    for view, weight, mean, factor in zip(
        private.by_class(), gaussians.weights, gaussians.means, gaussians.factors, strict=True
    ):
        whole = _Gaussian(mean, factor @ factor.T)
        frame = _Along.of(whole, along)
        size = float(weight) * private.size
        parts = _parts(view, frame, size, components, name)
        mixtures.append(_completed(parts, whole, frame, along, across))
    return Mixture.of_classes(mixtures)


@dataclass(frozen=True)
class _Gaussian:
    """A class's mean ``[d]`` and covariance ``[d, d]``; float64."""

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class _Along:
    """Coordinates ``[B, p]`` in which a class, seen along p directions, has covariance 1."""

    shift: Tensor
    forward: Tensor
    back: Tensor

    @classmethod
    def of(cls, whole: _Gaussian, along: Tensor) -> _Along:
        factor = torch.linalg.cholesky(along.T @ whole.covariance @ along)
        return cls(whole.mean, along @ torch.linalg.inv(factor).T, factor.T)

    def see(self, x: Tensor) -> Tensor:
        return (x - self.shift.to(x)) @ self.forward.to(x)


def _gaussians(private: PrivateLatents, name: str) -> Mixture:
    """Release a Gaussian of each class, weighed by how many records it has; float64."""
    frame, views = _common(private, _SHARES, name), private.by_class()
    reach = _tightness(private) * math.sqrt(private.dim)
    noise = release_noise(private, _SHARES.means, 1)
    counts, means = _means(views, frame, reach, noise, name)
    weights = counts / counts.sum()
    apart = means - weights @ means
    identity = torch.eye(private.dim).to(means)
    within = _lifted(identity - (apart.T * weights) @ apart, 0.1)
    inner = Frame.standard(means).whitened(torch.zeros_like(means[0]), within)
    frame, means = Frame(frame.shift, frame.forward @ inner.forward), means @ inner.forward
    noise = release_noise(private, _SHARES.spread, 1)
    spreads = _covariances(views, frame, means, counts, reach, noise, name)
    found = frame.restore(weights, means, spreads)
    return Mixture(weights, found.means.double(), found.factors.double(), len(weights))


def _directions(gaussians: Mixture, leading: int) -> tuple[Tensor, Tensor]:
    """Return orthonormal directions, ``[d, leading]`` and the others, by all classes' variance."""
    weights, means, factors = gaussians.weights, gaussians.means, gaussians.factors
    apart = means - weights @ means
    within = torch.einsum("c,cij,ckj->ik", weights, factors, factors)
    vectors = torch.linalg.eigh(within + (apart.T * weights) @ apart).eigenvectors.flip(1)
    return vectors[:, :leading], vectors[:, leading:]


def _parts(
    private: PrivateLatents, frame: _Along, size: float, count: int, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Release weights ``[K]``, means ``[K, p]`` and covariances of one class's components.

    Centres are those of draws from N(0, I), moved once to the mean of the records nearest to
    each; then every component says its weight, mean and covariance. All in ``frame``.
    """
    dim = frame.forward.shape[1]
    reach = _tightness(private) * math.sqrt(dim)
    rng = private.context.generator(f"{name}:start")
    start = spread(torch.randn(4096, dim, generator=rng), count, rng).to(private.device)
    noise, unit = release_noise(private, _SHARES.centres, 1), reach / 3

    def nearest(x: Tensor) -> tuple[Tensor, Tensor]:
        y = _within(frame.see(x), reach)
        owner = torch.cdist(y, start.to(y)).argmin(1)
        return one_hot(owner, count).to(y), torch.cat([torch.full_like(y[:, :1], unit), y], 1)

    clip = math.hypot(unit, reach)
    total = release_grouped_sum(
        private, nearest, clip=clip, noise_multiplier=noise, name=f"{name}:centres"
    ).double()
    counts = (total[:, :1] / unit).clamp_min(1)
    # a centre moves as far as the records' mean can be told from noise
    trust = counts.square() / (counts.square() + (noise * clip) ** 2)
    centres = start.double().lerp(total[:, 1:] / counts, trust)
    return _moments(private, frame, counts[:, 0], centres, size, name)


def _moments(
    private: PrivateLatents, frame: _Along, counts: Tensor, centres: Tensor, size: float, name: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Release weights, means and covariances of components around ``centres`` ``[K, p]``."""
    (count, dim), noise = centres.shape, private.noise_multiplier()
    counts = counts.clamp_min(0.05 * size / count)
    biases = (counts / counts.sum()).log()
    # what centres leave of the covariance is about what a component has
    apart = centres - centres.mean(0)
    left = 1 - float(apart.square().sum(1).mean()) / dim
    scale = math.sqrt(min(1.0, max(0.1, left)))
    reach = _tightness(private) * math.sqrt(dim) * scale
    unit, slope = _COUNT * reach**2, _MEAN * reach

    def probable(x: Tensor) -> tuple[Tensor, Tensor]:
        y, around = frame.see(x), centres.to(x)
        distance = torch.cdist(y, around).square() / scale**2
        owner = (biases.to(y) - 0.5 * distance).argmax(1)
        y = _within(y - around[owner], reach)
        ones = torch.full_like(y[:, :1], unit)
        return one_hot(owner, count).to(y), torch.cat([ones, slope * y, _outer(y)], 1)

    clip = math.hypot(unit, math.hypot(slope * reach, reach**2))
    total = release_grouped_sum(
        private, probable, clip=clip, noise_multiplier=noise, name=f"{name}:parts"
    ).double()
    counts = (total[:, 0] / unit).clamp_min(0.05 * size / count)
    weights, errors = counts / counts.sum(), noise * clip / counts
    shift = total[:, 1 : 1 + dim] / slope / counts.unsqueeze(1)
    shift = shift / (1 + (errors / (slope * scale)).square()).unsqueeze(1)
    found = _symmetric(total[:, 1 + dim :], dim) / counts.view(-1, 1, 1)
    found = (found - shift.unsqueeze(2) * shift.unsqueeze(1)) / scale**2
    common = torch.einsum("k,kij->ij", weights, found)
    found = _seen_through_noise(found, common, errors / scale**2) * scale**2
    return weights, centres + shift, found


def _completed(
    parts: tuple[Tensor, Tensor, Tensor],
    whole: _Gaussian,
    frame: _Along,
    along: Tensor,
    across: Tensor,
) -> Mixture:
    """Return components in all directions: across them, the class's Gaussian given the rest."""
    weights, means, covariances = parts
    covariance = whole.covariance
    slope = torch.linalg.solve(along.T @ covariance @ along, along.T @ covariance @ across).T
    rest = across.T @ covariance @ across - slope @ (along.T @ covariance @ across)
    lift = frame.back @ (along + across @ slope).T
    seen = lift.T @ covariances @ lift + across @ rest @ across.T
    factors = torch.linalg.cholesky(0.5 * (seen + seen.mT))
    return Mixture(weights.float(), (means @ lift + whole.mean).float(), factors.float())


def _both(mixture: Mixture, width: float) -> Mixture:
    """Return a mixture of each class with every component twice, once so many times as wide."""
    classes = mixture.classes

    def twice(parts: Tensor, times: float) -> Tensor:
        by_class = parts.unflatten(0, (classes, -1))
        return torch.cat([by_class, by_class * times], 1).flatten(0, 1)

    return Mixture(
        twice(mixture.weights, 1.0) / 2,
        twice(mixture.means, 1.0),
        twice(mixture.factors, math.sqrt(width)),
        classes,
    )


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(TaughtMixture)

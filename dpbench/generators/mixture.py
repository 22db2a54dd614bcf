"""A Gaussian mixture of private latents, from a few noisy sums: the prior of VAE and GAN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dpbench.privacy.grouped import release_grouped_sum
from dpbench.privacy.handle import PrivateLatents

__all__ = [
    "Mixture",
    "MixtureRecipe",
    "maximise",
    "public_radius",
    "release_mixture",
    "shrink",
    "spread",
]


@dataclass(frozen=True)
class Mixture:
    """Weights ``[K]``, means ``[K, d]`` and lower Cholesky factors ``[K, d, d]``.

    With ``classes`` C > 1 it is a mixture for each: component k is of class ``k // (K / C)``.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    classes: int = 1

    @classmethod
    def standard(cls, dim: int) -> Mixture:
        """N(0, I): after whitening, the distribution of public latents."""
        return cls(torch.ones(1), torch.zeros(1, dim), torch.eye(dim)[None])

    @classmethod
    def of_classes(cls, mixtures: Sequence[Mixture]) -> Mixture:
        """Put mixtures of equally many components, one a class, together."""
        parts = [(m.weights, m.means, m.factors) for m in mixtures]
        weights, means, factors = (torch.cat(column) for column in zip(*parts, strict=True))
        return cls(weights / len(mixtures), means, factors, len(mixtures))

    def to(self, device: torch.device | str) -> Mixture:
        """Return the mixture on ``device``."""
        weights, means, factors = (t.to(device) for t in (self.weights, self.means, self.factors))
        return Mixture(weights, means, factors, self.classes)

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Draw ``[count, d]``, of the classes ``labels`` where they are given."""
        which, noise = self.draw(count, rng, labels)
        return self.place(which, noise)

    def draw(
        self, count: int, rng: torch.Generator, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw components ``[count]`` and standard normal noise ``[count, d]``."""
        device, weights = rng.device, self.weights.to(rng.device)
        if labels is None or self.classes == 1:
            which = torch.multinomial(weights, count, True, generator=rng)
        else:
            own = weights.view(self.classes, -1)
            within = torch.multinomial(own[labels], 1, generator=rng).squeeze(1)
            which = labels * own.shape[1] + within
        noise = torch.randn(count, self.means.shape[1], generator=rng, device=device)
        return which, noise

    def place(self, which: Tensor, noise: Tensor) -> Tensor:
        """Map noise to latents by each row's component."""
        order = which.argsort()
        sorted_noise, placed = noise[order], torch.empty_like(noise)
        start = 0
        for k, count in enumerate(which.bincount(minlength=len(self.weights)).tolist()):
            rows = slice(start, start + count)
            torch.addmm(self.means[k], sorted_noise[rows], self.factors[k].T, out=placed[rows])
            start += count
        return torch.empty_like(noise).index_copy_(0, order, placed)

    def standardise(self, which: Tensor, x: Tensor) -> Tensor:
        """Undo :meth:`place`: latents to each row's component's own units."""
        out = torch.empty_like(x)
        for k in range(len(self.weights)):
            rows = which == k
            centred = (x[rows] - self.means[k]).T
            out[rows] = torch.linalg.solve_triangular(self.factors[k], centred, upper=False).T
        return out

    def responsibilities(self, x: Tensor, own: Tensor | None = None) -> Tensor:
        """Posterior probability of each component, ``[B, K]``.

        ``own`` ``[B, classes]`` is 1 where a row may be of a class, else 0.
        """
        count, dim = self.means.shape
        whiten = torch.linalg.inv(self.factors).transpose(1, 2)  # [K, d, d], applied from the right
        offset = torch.bmm(self.means.unsqueeze(1), whiten).reshape(1, -1)
        whitened = torch.addmm(offset, x, whiten.permute(1, 0, 2).reshape(dim, -1), beta=-1)
        distance = whitened.view(-1, count, dim).square().sum(-1)
        volume = torch.diagonal(self.factors, dim1=1, dim2=2).log().sum(1)
        likely = self.weights.log() - volume - 0.5 * distance
        if own is not None and self.classes > 1:
            other = own.repeat_interleave(count // self.classes, 1) == 0
            likely = likely.masked_fill(other, -torch.inf)
        return likely.softmax(1)


@dataclass(frozen=True)
class MixtureRecipe:
    """How a mixture is released.

    ``components`` K, ``rounds`` of moving the means, ``refinements`` of means and
    covariances together; ``noise_multiplier`` of each of the
    ``1 + rounds + refinements`` releases; ``shrinkage`` scales how much noise
    pulls a component's covariance to the common one.
    """

    components: int
    rounds: int
    refinements: int
    noise_multiplier: float
    shrinkage: float = 0.4

    @property
    def releases(self) -> int:
        return (1 + self.rounds + self.refinements) if self.components > 1 else 1


def release_mixture(
    private: PrivateLatents, public: Tensor, recipe: MixtureRecipe, name: str = "prior"
) -> Mixture:
    """Fit a mixture by noisy expectation-maximisation, every sum through the handle.

    Latents are clipped to the 0.99 quantile of public norms. The first release
    gives one Gaussian; means start as draws from it and move by noisy Lloyd
    rounds; covariances come last, around the means so reached. Where records have
    labels each class has a mixture of its own.
    """
    if private.classes > 1:
        classes = private.by_class()
        return Mixture.of_classes([release_mixture(c, public, recipe, name) for c in classes])
    dim = private.dim
    device = private.device
    radius = public_radius(public)
    start = Mixture.standard(dim)
    one = MixtureRecipe(1, 0, 1, recipe.noise_multiplier, 0.0)
    mixture = maximise(private, start, one, radius, f"{name}:moments")
    if recipe.components == 1:
        return mixture
    rng = private.context.generator(f"{name}:start")
    count = recipe.components
    # spread-out draws from the first Gaussian (k-means++ on synthetic points: free)
    means = spread(mixture.sample(4096, rng), count, rng).to(device)
    whiten = torch.linalg.inv(mixture.factors[0]).T
    common = 0.75 * mixture.factors[0]
    for turn in range(recipe.rounds):
        means = _lloyd(private, means, mixture, whiten, recipe, f"{name}:means-{turn}")
    mixture = Mixture(
        torch.full((count,), 1 / count), means, common.expand(count, dim, dim).contiguous()
    )
    for turn in range(recipe.refinements):
        mixture = maximise(private, mixture, recipe, radius, f"{name}:refine-{turn}")
    return mixture


def public_radius(public: Tensor) -> float:
    """Return the norm to which private latents are clipped, from those of ``public``."""
    return float(public.norm(dim=1).quantile(0.99)) * 1.1


def spread(points: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Cluster synthetic ``points`` by a few Lloyd rounds; returns ``count`` centres."""
    centres = points[torch.randperm(len(points), generator=rng)[:count]]
    for _ in range(10):
        owner = torch.cdist(points, centres).argmin(1)
        members = torch.nn.functional.one_hot(owner, count).to(points)
        centres = (members.T @ points) / members.sum(0).clamp_min(1).unsqueeze(1)
    return centres


def _lloyd(
    private: PrivateLatents,
    means: Tensor,
    base: Mixture,
    whiten: Tensor,
    recipe: MixtureRecipe,
    name: str,
) -> Tensor:
    """Move each mean to the noisy mean of the records nearest to it."""
    dim = private.dim
    # in whitened units a record has norm about sqrt(d); the count rides along as one coordinate
    clip = math.sqrt(dim) * 1.25
    unit = clip / 3
    centre = base.means[0]
    anchors = (means - centre) @ whiten

    def contribution(x: Tensor) -> tuple[Tensor, Tensor]:
        y = (x - centre) @ whiten
        owner = torch.cdist(y, anchors).argmin(1)
        values = torch.cat([torch.full_like(y[:, :1], unit), y], 1)
        return torch.nn.functional.one_hot(owner, len(anchors)).to(y), values

    total = release_grouped_sum(
        private, contribution, clip=clip, noise_multiplier=recipe.noise_multiplier, name=name
    )
    counts = total[:, 0] / unit
    noise = recipe.noise_multiplier * clip
    # shrink towards where the mean was by how uncertain the new one is
    trust = counts.clamp_min(1).square() / (counts.clamp_min(1).square() + noise**2)
    fresh = total[:, 1:] / counts.clamp_min(1).unsqueeze(1)
    moved = anchors + trust.unsqueeze(1) * (fresh - anchors)
    back: Tensor = torch.linalg.inv(whiten)
    return moved @ back + centre


def maximise(
    private: PrivateLatents, old: Mixture, recipe: MixtureRecipe, radius: float, name: str
) -> Mixture:
    """One step of expectation-maximisation with noisy sufficient statistics.

    A record contributes count, mean and second moment around its component,
    ``[a, b y, y y^T]``, to its most probable component.
    """
    count, dim = old.means.shape
    reach = radius if count == 1 else min(radius, 1.25 * float(_spread_of(old)))
    scale_count, scale_mean = 0.3 * reach**2, 0.5 * reach
    clip = math.sqrt(scale_count**2 + (scale_mean * reach) ** 2 + reach**4)

    def contribution(x: Tensor) -> tuple[Tensor, Tensor]:
        shares = old.responsibilities(x)
        owner = shares.argmax(1)
        y = x - old.means[owner]
        y = y * (reach / y.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1)
        outer = (y.unsqueeze(2) * y.unsqueeze(1)).flatten(1)
        ones = torch.full_like(y[:, :1], scale_count)
        hard = torch.nn.functional.one_hot(owner, count).to(y)
        return hard, torch.cat([ones, scale_mean * y, outer], 1)

    total = release_grouped_sum(
        private, contribution, clip=clip, noise_multiplier=recipe.noise_multiplier, name=name
    ).double()
    noise = recipe.noise_multiplier * clip
    counts = (total[:, 0] / scale_count).clamp_min(0.002 * private.size / count)
    shift = total[:, 1 : 1 + dim] / scale_mean / counts.unsqueeze(1)
    second = total[:, 1 + dim :].view(count, dim, dim) / counts.view(-1, 1, 1)
    second = 0.5 * (second + second.transpose(1, 2))
    covariances = second - shift.unsqueeze(2) * shift.unsqueeze(1)
    if count > 1:
        share = counts / counts.sum()
        common = (share.view(-1, 1, 1) * covariances).sum(0)
        covariances = shrink(covariances, common, noise / counts, recipe.shrinkage)
    factors = _factors(covariances, noise / float(counts.sum()))
    means = old.means.double() + shift
    return Mixture((counts / counts.sum()).float(), means.float(), factors.float())


def _spread_of(mixture: Mixture) -> Tensor:
    """Root mean squared distance of a component's points from its mean, averaged."""
    return mixture.factors.square().sum((1, 2)).mean().sqrt()


def shrink(covariances: Tensor, common: Tensor, noise: Tensor, strength: float) -> Tensor:
    """Pull each covariance to the common one by the share of its deviation that is noise.

    ``noise`` ``[K]`` is the standard deviation of a diagonal entry (off-diagonal
    ones have ``1 / sqrt(2)`` of it).
    """
    dim = common.shape[0]
    deviation = (covariances - common).square().sum((1, 2))
    expected = strength * noise.square() * (dim + dim * (dim - 1) / 2)
    keep = (1 - expected / deviation.clamp_min(1e-30)).clamp(0, 1)
    return common + keep.view(-1, 1, 1) * (covariances - common)


def _factors(covariances: Tensor, noise: float) -> Tensor:
    """Cholesky factors after lifting eigenvalues to a floor."""
    values, vectors = torch.linalg.eigh(covariances)
    floor = max(0.01, noise)
    lifted = (vectors * values.clamp_min(floor).unsqueeze(1)) @ vectors.transpose(1, 2)
    factors: Tensor = torch.linalg.cholesky(lifted)
    return factors

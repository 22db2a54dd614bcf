"""Mixtures of several classes, released around what the classes have in common.

All records together say where latents lie and how they spread, at a fraction of the noise that
one class has to bear. In those coordinates noise of one size suits every direction, records
have about one norm, and a class has only to say how it differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dpbench.generators.mixture import Mixture, shrink, spread
from dpbench.privacy.grouped import release_grouped_sum
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lanes import release_noise

__all__ = ["components_of_classes", "draw_own", "release_classes"]

_DRAWS = 10
"""How often a latent is drawn again until its own class explains it best."""
_BINS, _FARTHEST = 400, 6.0
"""Bins of the histogram of norms, up to so many times ``sqrt(d)``."""
_MEAN = 0.5
"""What a record adds to a mean, in units of what it adds to a second moment."""
_FLOOR = 0.88
"""Least eigenvalue that is believed, over ``sqrt(d)`` times the noise of an entry."""


@dataclass(frozen=True)
class Shares:
    """What each release but the last costs, as parts of the budget in the Gaussian scale.

    ``reach`` buys the norm to which records are clipped, ``common`` the mean and covariance of
    all, ``means`` those of classes; where a mixture follows, ``spread`` buys covariances of
    classes and ``centres`` those of components.
    """

    reach: float
    common: float
    means: float
    spread: float = 0.0
    centres: float = 0.0

    @classmethod
    def of(cls, epsilon: float, components: int) -> Shares:
        """Return what served best on MNIST's labelling images (docs/field.md)."""
        common = 0.05 if epsilon >= 3 else 0.1 if epsilon >= 0.5 else 0.2
        means = 0.05 if epsilon >= 3 else 0.12
        if components == 1:
            return cls(0.01, common, means)
        return cls(0.01, common, means, spread=0.15, centres=0.15)


@dataclass(frozen=True)
class Frame:
    """Coordinates ``(x - shift) @ forward`` of latents ``x`` ``[B, d]``; float64."""

    shift: Tensor
    forward: Tensor

    @classmethod
    def standard(cls, like: Tensor) -> Frame:
        """Return the frame of latents themselves, for ``like`` ``[..., d]`` of float64."""
        dim = like.shape[-1]
        return cls(like.new_zeros(dim), torch.eye(dim).to(like))

    def see(self, x: Tensor) -> Tensor:
        return (x - self.shift.to(x)) @ self.forward.to(x)

    def whitened(self, mean: Tensor, covariance: Tensor) -> Frame:
        """Return the frame in which these moments, as seen from here, are 0 and the identity."""
        values, vectors = torch.linalg.eigh(covariance)
        root = (vectors / values.sqrt()) @ vectors.T
        return Frame(self.shift + mean @ torch.linalg.inv(self.forward), self.forward @ root)

    def restore(self, weights: Tensor, means: Tensor, covariances: Tensor) -> Mixture:
        """Return the mixture of latents that is seen as these K Gaussians of d dimensions."""
        inverse = torch.linalg.inv(self.forward)
        moved = inverse.T @ covariances @ inverse
        factors = torch.linalg.cholesky(0.5 * (moved + moved.mT))
        means = means @ inverse + self.shift
        return Mixture(weights.float(), means.float(), factors.float())

    def standard_normal(self) -> Mixture:
        """Return the Gaussian that is seen as N(0, I)."""
        identity = torch.eye(len(self.forward)).to(self.forward)
        return self.restore(identity[0, :1], torch.zeros_like(identity[:1]), identity[None])


def components_of_classes(private: PrivateLatents) -> int:
    """Return as many components a class as the budget carries, at most 40; one, if under four."""
    if not private.budget.private:
        return 40
    size = private.size / private.classes
    carried = round(size / (16 * release_noise(private, 1.0, 1) * private.dim))
    return min(40, carried) if carried >= 4 else 1


def release_classes(private: PrivateLatents, components: int, name: str) -> Mixture:
    """Release a mixture of ``components`` Gaussians for each class of labelled records.

    Four sums: a histogram of norms, moments of all records, each class's mean, its covariance
    around it. For a mixture two more: means of its components, then their moments. What
    belongs to a class costs what one class costs, since a record is in one. The last sum has
    what is left of the budget.
    """
    shares = Shares.of(private.budget.epsilon, components)
    frame = _common(private, shares, name)
    tight = _tightness(private) * math.sqrt(private.dim)
    views = private.by_class()
    counts, means = _means(views, frame, tight, release_noise(private, shares.means, 1), name)
    weights = counts / counts.sum()
    apart = means - weights @ means
    within = _lifted(torch.eye(private.dim).to(means) - (apart.T * weights) @ apart, 0.1)
    inner = Frame.standard(means).whitened(torch.zeros_like(means[0]), within)
    frame, means = Frame(frame.shift, frame.forward @ inner.forward), means @ inner.forward
    noise = _noise(views[0], shares.spread if components > 1 else None)
    spreads = _covariances(views, frame, means, counts, tight, noise, name)
    mixtures = []
    for view, count, mean, covariance in zip(views, counts, means, spreads, strict=True):
        own = Frame(frame.shift + mean @ torch.linalg.inv(frame.forward), frame.forward)
        own = own.whitened(torch.zeros_like(mean), covariance)
        if components == 1:
            mixtures.append(own.standard_normal())
        else:
            mixtures.append(_parts(view, own, float(count), components, shares, name))
    return Mixture.of_classes(mixtures)


def draw_own(mixture: Mixture, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Draw a latent of each class in ``labels`` ``[N]`` that no other class makes likelier.

    What is still not its own class's after ten draws stays as it is.
    """
    latents = mixture.sample(len(labels), rng, labels)
    rows = torch.arange(len(labels))
    for _ in range(_DRAWS):
        rows = torch.cat(
            [part[_foreign(mixture, latents[part], labels[part])] for part in rows.split(4096)]
        )
        if not len(rows):
            break
        latents[rows] = mixture.sample(len(rows), rng, labels[rows])
    return latents


def _foreign(mixture: Mixture, latents: Tensor, labels: Tensor) -> Tensor:
    """Say which latents ``[B, d]`` another class than ``labels`` ``[B]`` makes likelier."""
    shares = mixture.responsibilities(latents).unflatten(1, (mixture.classes, -1)).sum(2)
    return shares.argmax(1) != labels


def _tightness(private: PrivateLatents) -> float:
    """Return where norms are clipped, as a multiple of what they are on average.

    The heavier the noise, the more is it worth to be wrong about records far out.
    """
    if not private.budget.private:
        return 2.0
    return 0.85 if private.budget.epsilon < 3 else 1.1


def _noise(private: PrivateLatents, share: float | None) -> float:
    """Return the noise multiplier of one sum: a share of the budget, or all that is left."""
    return private.noise_multiplier() if share is None else release_noise(private, share, 1)


def _common(private: PrivateLatents, shares: Shares, name: str) -> Frame:
    """Return the frame in which all records have mean 0 and, but for noise, covariance 1."""
    dim, reach = private.dim, _reach(private, shares.reach, name)
    noise = release_noise(private, shares.common, 1)
    clip = reach**2 * math.sqrt(1 + _MEAN**2)

    def contribution(x: Tensor) -> Tensor:
        y = _within(x, reach)
        return torch.cat([_MEAN * reach * y, _outer(y)], 1)

    total = private.release_sum(
        contribution, clip=clip, noise_multiplier=noise, name=f"{name}:common"
    )
    moments = total.double() / private.size
    mean = moments[:dim] / (_MEAN * reach)
    covariance = _symmetric(moments[dim:], dim) - mean.outer(mean)
    values, vectors = torch.linalg.eigh(covariance)
    # what noise can make of an eigenvalue 0: the spectral norm of a symmetric noise matrix
    bound = noise * clip / private.size * math.sqrt(2 * dim)
    steady = (values.clamp_min(0).square() + max(bound, 1e-3) ** 2).sqrt()
    return Frame.standard(mean).whitened(mean, (vectors * steady) @ vectors.T)


def _reach(private: PrivateLatents, share: float, name: str) -> float:
    """Return the norm that four fifths of the records stay within, from a noisy histogram."""
    farthest = _FARTHEST * math.sqrt(private.dim)

    def groups(x: Tensor) -> Tensor:
        return (x.norm(dim=1) / farthest * _BINS).long().clamp_max(_BINS - 1)

    noise = release_noise(private, share, 1)
    found = private.noisy_count(groups, _BINS, noise_multiplier=noise, name=f"{name}:norms")
    enough = found.double().cumsum(0) >= 0.8 * private.size
    return (int(enough.float().argmax()) + 1) / _BINS * farthest if enough.any() else farthest


def _means(
    views: Sequence[PrivateLatents], frame: Frame, reach: float, noise: float, name: str
) -> tuple[Tensor, Tensor]:
    """Return how many records each class has, ``[C]``, and their means in ``frame``, ``[C, d]``."""
    unit = reach / 3

    def contribution(x: Tensor) -> Tensor:
        y = _within(frame.see(x), reach)
        return torch.cat([torch.full_like(y[:, :1], unit), y], 1)

    clip = math.hypot(unit, reach)
    totals = torch.stack(
        [
            view.release_sum(contribution, clip=clip, noise_multiplier=noise, name=f"{name}:means")
            for view in views
        ]
    ).double()
    counts = (totals[:, 0] / unit).clamp_min(0.05 * views[0].size)
    return counts, totals[:, 1:] / counts.unsqueeze(1)


def _covariances(
    views: Sequence[PrivateLatents],
    frame: Frame,
    means: Tensor,
    counts: Tensor,
    reach: float,
    noise: float,
    name: str,
) -> Tensor:
    """Return each class's covariance in ``frame``, ``[C, d, d]``."""
    dim = means.shape[1]

    def around(mean: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: _outer(_within(frame.see(x) - mean.to(x), reach))

    totals = [
        view.release_sum(around(mean), clip=reach**2, noise_multiplier=noise, name=f"{name}:spread")
        for view, mean in zip(views, means, strict=True)
    ]
    found = _symmetric(torch.stack(totals).double(), dim) / counts.view(-1, 1, 1)
    common = torch.einsum("c,cij->ij", counts / counts.sum(), found)
    errors = noise * reach**2 / counts
    return _seen_through_noise(found, common, errors)


def _parts(
    private: PrivateLatents, frame: Frame, size: float, count: int, shares: Shares, name: str
) -> Mixture:
    """Release ``count`` components of one class, whose mean is 0 and covariance 1 in ``frame``.

    Centres are those of draws from the class's Gaussian, moved once to the records nearest
    to each; then every component says its weight, mean and covariance.
    """
    dim, reach = private.dim, _tightness(private) * math.sqrt(private.dim)
    rng = private.context.generator(f"{name}:start")
    start = spread(torch.randn(4096, dim, generator=rng), count, rng).to(private.device)
    noise, unit = release_noise(private, shares.centres, 1), reach / 3

    def nearest(x: Tensor) -> tuple[Tensor, Tensor]:
        y = _within(frame.see(x), reach)
        member = one_hot(torch.cdist(y, start).argmin(1), count).to(y)
        return member, torch.cat([torch.full_like(y[:, :1], unit), y], 1)

    clip = math.hypot(unit, reach)
    total = release_grouped_sum(
        private, nearest, clip=clip, noise_multiplier=noise, name=f"{name}:centres"
    ).double()
    counts = (total[:, :1] / unit).clamp_min(1)
    # a centre moves as far as the records' mean can be told from noise
    trust = counts.square() / (counts.square() + (noise * clip) ** 2)
    centres = start.double().lerp(total[:, 1:] / counts, trust)
    weights = counts[:, 0].clamp_min(0.05 * size / count)
    weights = weights / weights.sum()
    apart = centres - weights @ centres
    blur = float(weights @ (trust * noise * clip / counts).square()[:, 0])
    identity = torch.eye(dim).to(apart)
    between = _lifted((apart.T * weights) @ apart - blur * identity, 0.0)
    inner = Frame.standard(apart).whitened(0 * apart[0], _lifted(identity - between, 0.1))
    seen, centres = Frame(frame.shift, frame.forward @ inner.forward), centres @ inner.forward
    return _moments(private, seen, weights, centres, size, name)


def _moments(
    private: PrivateLatents, frame: Frame, weights: Tensor, centres: Tensor, size: float, name: str
) -> Mixture:
    """Release weight, mean and covariance of components around ``centres`` ``[K, d]``."""
    (count, dim), reach = centres.shape, _tightness(private) * math.sqrt(private.dim)
    noise = private.noise_multiplier()
    unit, slope = 0.2 * reach**2, _MEAN * reach

    def probable(x: Tensor) -> tuple[Tensor, Tensor]:
        y, around = frame.see(x), centres.to(x)
        owner = (weights.log().to(y) - 0.5 * torch.cdist(y, around).square()).argmax(1)
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
    shift = shift / (1 + (errors / slope).square()).unsqueeze(1)
    found = _symmetric(total[:, 1 + dim :], dim) / counts.view(-1, 1, 1)
    found = found - shift.unsqueeze(2) * shift.unsqueeze(1)
    common = torch.einsum("k,kij->ij", weights, found)
    found = _seen_through_noise(found, common, errors)
    return frame.restore(weights, centres + shift, found)


def _seen_through_noise(found: Tensor, common: Tensor, errors: Tensor) -> Tensor:
    """Shrink covariances ``[K, d, d]`` to the common one and lift eigenvalues that noise rules.

    ``errors`` ``[K]`` is the standard deviation of noise in a diagonal entry.
    """
    found = shrink(found, common, errors, 1.0)
    floors = (_FLOOR * math.sqrt(len(common)) * errors).clamp_min(0.03)
    return torch.stack([_lifted(c, float(f)) for c, f in zip(found, floors, strict=True)])


def _within(x: Tensor, reach: float) -> Tensor:
    """Bring rows of ``x`` to norms of at most ``reach``."""
    return x * (reach / x.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1)


def _outer(x: Tensor) -> Tensor:
    """Return ``x x^T`` of each row, ``[B, d * d]``."""
    return (x.unsqueeze(2) * x.unsqueeze(1)).flatten(1)


def _symmetric(flat: Tensor, dim: int) -> Tensor:
    """Return the symmetric part of matrices ``[..., d * d]``, ``[..., d, d]``."""
    matrices = flat.unflatten(-1, (dim, dim))
    return 0.5 * (matrices + matrices.mT)


def _lifted(matrix: Tensor, least: float) -> Tensor:
    """Raise the eigenvalues of a symmetric matrix to ``least`` where they are lower."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(least)) @ vectors.T

"""What both generators start from: a prior over latents, and streams of free draws from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dpbench.api import Context, Params
from dpbench.generators.mixture import Mixture, MixtureRecipe, release_mixture
from dpbench.privacy.by_class import balanced_labels
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lanes import release_noise

__all__ = ["PriorKind", "PriorParams", "PriorPool", "mixture_recipe", "release_prior"]

_MOST = 40

PriorKind = Literal["mixture", "gaussian", "normal"]


class PriorParams(Params):
    """What a generator starts from; ``None`` stands for an automatic choice.

    Attributes:
        prior: ``normal`` is N(0, I), the distribution of whitened public latents, and costs
            nothing; ``mixture`` and ``gaussian`` are released at a part of the budget, which
            the method's name then says (``GAN+mixture``).
        components: of a ``mixture``, for each class; not set: the more, the more records there
            are per unit of noise, at most 40.
        prior_share: part of the budget that goes to a released prior; not set: 0.7 below
            ε = 3, else 0.5.
        prior_rounds: how often the means of a ``mixture`` move before it is refined, each
            time a release; not set: 1, or 4 without noise.
    """

    prior: PriorKind = "normal"
    components: int | None = Field(None, ge=1)
    prior_share: float | None = Field(None, gt=0, lt=1)
    prior_rounds: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _mixture_settings_need_a_mixture(self) -> PriorParams:
        if self.prior != "mixture" and (self.components or self.prior_rounds is not None):
            raise ValueError("components and prior_rounds need prior = 'mixture'")
        return self

    @property
    def released(self) -> bool:
        """Whether a part of the budget buys the prior."""
        return self.prior != "normal"


def mixture_recipe(params: PriorParams, private: PrivateLatents, share: float) -> MixtureRecipe:
    """Choose the size of the released prior, of each class, from the budget and the data.

    The automatic number of components is ``sqrt(N / (noise * d))``, at most 40: the
    more records there are per unit of noise in a mean's ``d`` entries, the finer. With
    labels N is that of a class, were they equally many.
    Under noise every further release makes all of them noisier, so there are three
    (one Gaussian, one move of the means, one refinement); without, many.
    """
    components, rounds = params.components, params.prior_rounds
    if params.prior == "gaussian" or components == 1:
        return MixtureRecipe(1, 0, 0, release_noise(private, share, 1))
    if not private.budget.private:
        return MixtureRecipe(components or _MOST, 4 if rounds is None else rounds, 6, 0.0)
    size = private.size / private.classes
    most = math.sqrt(size / (release_noise(private, share, 1) * private.dim))
    automatic = round(min(_MOST, max(1.0, most)))
    if not components and automatic == 1:
        return MixtureRecipe(1, 0, 0, release_noise(private, share, 1))
    rounds, refinements = 1 if rounds is None else rounds, 1
    noise = release_noise(private, share, 1 + rounds + refinements)
    return MixtureRecipe(components or automatic, rounds, refinements, noise)


def release_prior(params: PriorParams, private: PrivateLatents, public: Tensor) -> Mixture:
    """Release the prior of one lane; ``normal`` is N(0, I) and costs nothing."""
    if not params.released:
        return Mixture.standard(private.dim)
    share = params.prior_share or (0.7 if private.budget.epsilon < 3 else 0.5)
    return release_mixture(private, public, mixture_recipe(params, private, share))


class PriorPool:
    """Consecutive batches of free draws for many lanes, ``[A, count, d]`` at a time.

    Each lane draws from its own prior with its own stream, many batches ahead. Where a
    prior has classes a batch holds as many of each, in turn.
    With ``fixed`` every batch lies where the one before lay, for a captured step.

    Attributes:
        batch: what :meth:`advance` drew last.
    """

    def __init__(
        self,
        priors: Sequence[Mixture],
        contexts: Sequence[Context],
        name: str,
        count: int,
        device: torch.device,
        ahead: int = 32,
        fixed: bool = False,
    ) -> None:
        self._priors = priors
        self._streams = [context.generator(name, device) for context in contexts]
        self._count, self._ahead, self._turn = count, ahead, 0
        dim = priors[0].means.shape[1]
        self._pool = torch.empty(len(priors), ahead * count, dim, device=device)
        self._place = self._pool.new_empty(len(priors), count, dim) if fixed else None
        self.batch = self._pool[:, :count]

    def advance(self, lanes: int) -> None:
        """Move on to the next draws of the leading ``lanes`` lanes."""
        at = self._turn % self._ahead
        if at == 0:
            for lane in range(lanes):
                prior, rows = self._priors[lane], self._pool.shape[1]
                labels = balanced_labels(self._count, prior.classes).repeat(self._ahead)
                draws = prior.sample(rows, self._streams[lane], labels.to(self._pool.device))
                self._pool[lane] = draws
        self._turn += 1
        drawn = self._pool[:lanes, at * self._count : (at + 1) * self._count]
        self.batch = drawn if self._place is None else self._place[:lanes].copy_(drawn)

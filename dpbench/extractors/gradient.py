"""Latents by inverting the decoder: unconstrained, and projected onto the prior's bulk."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dpbench.api import Context, Extractor, PublicModel, derive_seed, to_float
from dpbench.extractors.descent import DescentParams, descend
from dpbench.extractors.draws import normal_of_each

__all__ = ["GradientExtractor", "ProjectedGradientExtractor"]


class GradientExtractor(Extractor):
    """Descends from the encoder's latents (the paper's *grad*).

    It asks for an encoder because the start matters: from it a few steps reach
    the error that a random start needs thousands for.
    """

    name = "gradient"
    label = "grad"
    requires = frozenset({"decode", "encode"})
    Params = DescentParams
    cost = 40.0

    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        warm_start: bool = self.params.warm_start

        def start(x: Tensor, _index: slice) -> Tensor:
            return model.encode(x) if warm_start else _mean_of(model, x)

        return _in_batches(self.params, model, images, context, start)


class ProjectedGradientExtractor(Extractor):
    """Keeps P(z) >= P(z0) for a fresh z0 ~ N(0, I) per image (the paper's Eq. 7).

    Under N(0, I) the constraint is |z| <= |z0|; each step is projected onto
    that ball. Starts at the public model's guess, else near the mean.
    """

    name = "projected-gradient"
    label = ""
    requires = frozenset({"decode", "prior"})
    Params = DescentParams
    cost = 60.0

    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        seed = derive_seed(context.seed, "z0")
        draws = normal_of_each(images, model.latent_dim, seed).to(context.device)
        radius = draws.norm(dim=1, keepdim=True)

        def start(x: Tensor, index: slice) -> Tensor:
            guess = model.guess(x) if self.params.warm_start else None
            return 0.1 * draws[index] if guess is None else guess

        return _in_batches(self.params, model, images, context, start, radius)


def _in_batches(
    params: DescentParams,
    model: PublicModel,
    images: Tensor,
    context: Context,
    start: Callable[[Tensor, slice], Tensor],
    radius: Tensor | None = None,
) -> Tensor:
    found = torch.empty(len(images), model.latent_dim)
    for first in range(0, len(images), params.batch):
        index = slice(first, min(first + params.batch, len(images)))
        x = to_float(images[index].to(context.device))
        with torch.no_grad():
            z = start(x, index)
        bound = None if radius is None else radius[index]
        found[index] = descend(model, x, z, params, bound).cpu()
        context.progress(index.stop, len(images))
    return found


def _mean_of(model: PublicModel, x: Tensor) -> Tensor:
    mean, _ = model.latent_statistics()
    return mean.expand(len(x), -1).clone()

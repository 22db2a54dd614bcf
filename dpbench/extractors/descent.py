"""Descent through a decoder, every image by itself.

No step reads another record: objective, curvature, acceptance and stopping are
kept per image, and a batch only shares the decoder's passes. Nor does a finished
image leave its batch: in a smaller one the others' last bits would be others. A
latent therefore depends on its own image alone, as a per-record privacy guarantee
requires.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from dpbench.api import Params, PublicModel
from dpbench.extractors.objective import Objective, within
from dpbench.extractors.plain import PlainGradient
from dpbench.extractors.quasi_newton import QuasiNewton

__all__ = ["CHECK", "DescentParams", "descend"]

#: Steps between two looks at who has converged.
CHECK = 4


class DescentParams(Params):
    """How to descend.

    Attributes:
        optimiser: ``lbfgs`` (quasi-Newton, see :class:`QuasiNewton`), or ``plain``,
            gradient descent with a step that is halved on a plateau (the paper's).
        steps: at most, for every image.
        tolerance: an image is finished when four steps lowered its own objective by
            less than this share; with ``plain``, when its step has shrunk to this
            share of the first. 0 never stops before ``steps``.
        memory: curvature pairs that ``lbfgs`` keeps.
        stride: length of the first move of ``lbfgs``, in latent units; later
            ones find their own.
        step_size: first step of ``plain``, on the error's mean over an image's pixels.
        patience: iterations without a new low (by 1e-4 of it) before ``plain`` halves.
        prior: weight of half the squared Mahalanobis distance to the public
            latents, against the pixel error summed over an image: it
            keeps latents where a generator can learn them.
        knee: the pixel error is quadratic below it and linear above (Charbonnier),
            as the default public models are trained; 0 for the squared error.
        batch: images descended together, until the last has finished; but for rounding,
            results do not depend on it.
        warm_start: begin at the public model's own guess where it has one.
    """

    optimiser: Literal["lbfgs", "plain"] = "lbfgs"
    steps: int = Field(default=12, ge=1)
    tolerance: float = Field(default=0.1, ge=0, lt=1)
    memory: int = Field(default=10, ge=1)
    stride: float = Field(default=0.5, gt=0)
    step_size: float = Field(default=200.0, gt=0)
    patience: int = Field(default=10, ge=1)
    prior: float = Field(default=0.0, ge=0)
    knee: float = Field(default=0.1, ge=0)
    batch: int = Field(default=500, ge=1)
    warm_start: bool = True


class Optimiser(Protocol):
    """The state of a descent: one row per image, in every tensor.

    Attributes:
        best: the latents of the lowest objective so far, ``[B, d]``.
        lowest: that objective, ``[B]``.
    """

    best: Tensor
    lowest: Tensor

    def step(self) -> None:
        """Move every image once."""

    def converged(self, before: Tensor, tolerance: float) -> Tensor:
        """Say which images are finished, ``[B]``; ``before`` is ``lowest`` at the last look."""


def descend(
    model: PublicModel,
    images: Tensor,
    start: Tensor,
    params: DescentParams,
    radius: Tensor | None = None,
    watch: Callable[[int, Tensor], None] = lambda _step, _lowest: None,
) -> Tensor:
    """Minimise ``error(decode(z), x) + prior/2 (z - m)' P (z - m)`` for one batch.

    Args:
        model: its ``latent_statistics`` give m and P.
        images: float ``[B, C, H, W]`` in [0, 1].
        start: ``[B, d]``.
        radius: bound on every latent's norm, ``[B, 1]``; none if omitted.
        watch: receives each step's number and the lowest objectives, ``[B]``.

    Returns:
        The best latent met for every image, ``[B, d]``.
    """
    objective = Objective(model, images, params.knee, params.prior, radius)
    start = start if radius is None else within(start, radius)
    state: Optimiser
    if params.optimiser == "lbfgs":
        state = QuasiNewton(objective, start, params.memory, params.stride)
    else:
        pixels = images[0].numel()
        state = PlainGradient(objective, start, params.step_size / pixels, params.patience)
    found, lowest, before = state.best, state.lowest, state.lowest
    done = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    for step in range(1, params.steps + 1):
        state.step()
        found = torch.where(done[:, None], found, state.best)
        lowest = torch.where(done, lowest, state.lowest)
        watch(step, lowest)
        if params.tolerance and step % CHECK == 0:
            done = done | state.converged(before, params.tolerance)
            if bool(done.all()):
                break
            before = state.lowest
    return found

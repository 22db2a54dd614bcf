"""Runs the built-in generators' own training for a few steps, followed from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.mixture import Mixture, MixtureRecipe, release_mixture
from dpbench.generators.training_lane import LaneGenerator, TrainingLane
from dpbench.privacy.handle import Budget
from dpbench.privacy.lanes import LaneSchedule
from dpbench.privacy.session import PrivateSession

__all__ = ["REPORT_EVERY", "Enough", "latents_like", "prior_of", "training_lanes", "training_run"]

#: Steps of a full training; a run is stopped long before.
STEPS = 1000
#: Generators report their progress after every so many steps, first after one.
REPORT_EVERY = 50
BATCH, CLIP, NOISE = 1024, 0.3, 1.0


class Enough(Exception):
    """Raised from a report of progress to end a training."""


def latents_like(records: int, dim: int) -> Tensor:
    """Return whitened latents, ``[records, dim]``."""
    return torch.randn(records, dim, generator=torch.Generator().manual_seed(0))


def prior_of(latents: Tensor, components: int = 10) -> Mixture:
    """Release the mixture that a private generator starts from."""
    private = PrivateSession(latents, Budget(10, 1e-6), CLIP, Context(0), noise_seed=0).handle
    return release_mixture(private, latents[:8000], MixtureRecipe(components, 1, 1, NOISE))


def training_lanes(
    cls: type[LaneGenerator],
    count: int,
    latents: Tensor,
    prior: Mixture,
    on_step: Callable[[int], None],
) -> list[TrainingLane[LaneGenerator]]:
    """Return ``count`` lanes with the generator's default hyperparameters, ready to train.

    Each takes 1,024 expected records a step, or all where there are fewer. ``on_step``
    gets the index of the step just finished: 0, 50, 100, ...
    """
    records, dim = latents.shape
    schedule = LaneSchedule(min(1.0, BATCH / records), STEPS, CLIP, NOISE)
    lanes = []
    for seed in range(count):
        context = Context(seed, on_progress=lambda done: on_step(round(done * STEPS)))
        budget = Budget(10, 1e-6)
        private = PrivateSession(latents, budget, CLIP, context, noise_seed=seed).handle
        lanes.append(TrainingLane(cls(cls.Params(), dim), private, context, prior, schedule))
    return lanes


def training_run(
    cls: type[LaneGenerator], run: list[TrainingLane[LaneGenerator]], latents: Tensor
) -> None:
    """Train the lanes of one run until ``on_step`` raises :class:`Enough`."""
    with contextlib.suppress(Enough):
        cls.train(run, latents[:8000])

"""A record enters a step with several rows: draws of its code, jittered latents.

The gradient of a record is the mean over its rows, and is clipped as one, so that rows cost
no privacy (Dockhorn et al. 2023 call it noise multiplicity).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Params, PrivateGenerator
from dpbench.generators import gan, vae
from dpbench.generators.training_lane import TrainingLane
from dpbench.generators.vae_lanes import VAENet
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule, Traces
from dpbench.privacy.randomness import fill_normal


class RowParams(Params):
    """``draws`` rows of each record, moved by Gaussian noise of standard deviation ``jitter``."""

    draws: int = Field(4, ge=1)
    jitter: float = Field(0.0, ge=0)


def _mean(traces: Sequence[LinearTrace], draws: int) -> list[LinearTrace]:
    """Turn the sum over a record's rows into their mean."""
    return [LinearTrace(t.layer, t.inputs, t.delta / draws) for t in traces]


@dataclass(frozen=True)
class RowNet(VAENet):
    """A VAE whose every record has ``draws`` rows, each with code noise and jitter of its own.

    The decoder is to give the jittered row. What the base does with samples of the model
    itself, to weigh its prior's normaliser, has as many rows.
    """

    draws: int = 1
    jitter: float = 0.0

    def traces(
        self,
        params: LaneBuffer,
        batch: Tensor,
        kl_weight: float | Tensor,
        draw: Callable[[Tensor], Tensor],
    ) -> list[LinearTrace]:
        """Trace a batch ``[A, B, k]``: ``[A, B * draws, ...]``, record by record."""
        rows = batch.repeat_interleave(self.draws, 1)
        if self.jitter:
            x = rows[..., : self.dim]
            x.add_(draw(torch.empty_like(x)), alpha=self.jitter)
        return _mean(super().traces(params, rows, kl_weight, draw), self.draws)


class RowVAEParams(vae.VAEParams, RowParams):
    """Hyperparameters of the VAE, and of its rows."""

    engine: Literal["lanes"] = "lanes"


class RowVAE(vae.VAE):
    """The VAE with several rows a record."""

    name = "vae-rows"
    label = "VAE-rows"
    version = "0.1.0"
    Params = RowVAEParams

    def __init__(self, params: RowVAEParams, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)
        self.net = RowNet(**vars(self.net), draws=params.draws, jitter=params.jitter)

    @classmethod
    def train(cls, lanes: list[TrainingLane[vae.VAE]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _VAETraining(lanes, public).run()


class _VAETraining(vae._Training):
    params: RowVAEParams

    def _draw(self, out: Tensor) -> Tensor:
        """Fill the rows that hold records; how many are drawn depends on the lane alone."""
        assert isinstance(self.engine, DPSGDLanes)
        out.zero_()
        for lane, size in enumerate(self.engine.sizes[: len(out)]):
            fill_normal(self.draws[lane], out[lane, : size * self.params.draws])
        return out


class JitteredLanes(DPSGDLanes):
    """Gradients over ``draws`` rows a record, each with jitter of its own on ``dim`` columns."""

    def __init__(
        self,
        params: LaneBuffer,
        privates: Sequence[PrivateLatents],
        schedules: Sequence[LaneSchedule],
        rows: RowParams,
        labelled: bool = False,
    ) -> None:
        super().__init__(params, privates, schedules, labelled=labelled)
        self._rows, self._dim = rows, privates[0].dim
        self._jitter = [private.draws("jitter") for private in privates]

    def compute(self, traces: Traces) -> LaneBuffer:
        """Return the noisy mean gradients of ``traces`` over jittered rows."""
        return super().compute(partial(self._several, traces))

    def _several(self, traces: Traces, batch: Tensor) -> list[LinearTrace]:
        draws = self._rows.draws
        rows = batch.repeat_interleave(draws, 1)
        x = rows[..., : self._dim]
        noise = torch.zeros_like(x)
        for lane, size in enumerate(self.sizes[: len(batch)]):
            fill_normal(self._jitter[lane], noise[lane, : size * draws])
        x.add_(noise, alpha=self._rows.jitter)
        return _mean(traces(rows), draws)


class RowGANParams(gan.GANParams, RowParams):
    """Hyperparameters of the GAN, and of the rows that its critic sees of a record."""

    # Where the base would make Opacus's engine it asks the subclass for its own.
    engine: Literal["opacus"] = "opacus"


class RowGAN(gan.GAN):
    """The GAN whose critic sees several jittered rows of each record."""

    name = "gan-rows"
    label = "GAN-rows"
    version = "0.1.0"
    Params = RowGANParams

    @classmethod
    def train(cls, lanes: list[TrainingLane[gan.GAN]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _GANTraining(lanes, public).run()


class _GANTraining(gan._Training):
    params: RowGANParams

    def _reference(self) -> JitteredLanes:  # type: ignore[override]
        rows = self.params
        return JitteredLanes(self.judge, self.privates, self.schedules, rows, labelled=True)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench for each file that ``--plugin`` names."""
    register(RowVAE)
    register(RowGAN)

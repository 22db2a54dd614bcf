"""Clips that follow a quantile of gradient norms: of records, at a cost, or of public latents.

Adaptive clipping (Andrew et al. 2021): a few times while training a noisy count tells how many
records' gradients are no longer than the clip, and the clip C becomes
``C exp(-rate (fraction - quantile))``, their geometric update. The counts take a small share
of the budget; DP-SGD gets exactly what is left. With ``source = "public"`` the clip is a
function of the nets and of public latents: a share of the quantile of the latter's gradients'
norms under the nets as they are. That costs nothing.

Either way the mechanism keeps its stated sensitivity, the trial's clip c: gradients are scaled
by c / C before they are clipped at c, and what was released is scaled back.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, PrivateGenerator
from dpbench.generators import gan, vae
from dpbench.generators.driver import Training
from dpbench.generators.training_lane import LaneGenerator, TrainingLane, TrainingParams
from dpbench.privacy.accounting import noise_multiplier_for
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule, Traces, clipped_sum
from dpbench.privacy.ledger import Mechanism

_COUNT = "gradient norms below the clip"
_MOST = 1e3
"""The clip stays within this factor of the trial's."""
_COMPARED = 1000
"""Public latents whose gradients are looked at."""


class AdaptiveParams(TrainingParams):
    """``checks`` counts, evenly spread, buy with ``count_share`` of the budget what to clip at.

    The clip starts at the trial's and moves toward the ``quantile`` of gradient norms,
    by a factor of at most ``exp(clip_rate)`` a count. With ``source = "public"`` a check
    counts nothing: it sets the clip to ``factor`` times that quantile among public latents.
    """

    source: Literal["private", "public"] = "private"
    factor: float = Field(1.0, gt=0)
    checks: int = Field(5, ge=1)
    count_share: float = Field(0.05, gt=0, lt=1)
    quantile: float = Field(0.5, ge=0, le=1)
    clip_rate: float = Field(2.0, gt=0)

    @model_validator(mode="after")
    def _nothing_released_before(self) -> AdaptiveParams:
        if self.released:
            raise ValueError("an adaptive clip needs prior = 'normal'")
        return self


def share_budget(
    private: PrivateLatents, params: AdaptiveParams, schedule: LaneSchedule
) -> tuple[float, LaneSchedule]:
    """Return the counts' noise multiplier, and ``schedule`` with the noise that leaves the rest.

    The counts enter the ledger one by one, so the steps' noise is found as if they stood
    in it already.
    """
    if params.source == "public":
        return 0.0, schedule
    noise = private.noise_multiplier(1.0, params.checks, params.count_share)
    budget = private.budget
    if not math.isfinite(budget.epsilon) or budget.noise_multiplier is not None:
        return noise, schedule
    counts = Mechanism(name=_COUNT, noise_multiplier=noise, count=params.checks)
    held = [*private.ledger.mechanisms, counts]
    rate, steps = schedule.sampling_rate, schedule.steps
    left = noise_multiplier_for(budget.epsilon, budget.delta, rate, steps, held)
    return noise, replace(schedule, noise_multiplier=left)


class ScaledLanes(DPSGDLanes):
    """Clips at ``current`` ``[L, 1]``, under the noise and sensitivity of the schedule's clip."""

    def __init__(
        self,
        params: LaneBuffer,
        privates: Sequence[PrivateLatents],
        schedules: Sequence[LaneSchedule],
        fixed: bool = False,
    ) -> None:
        super().__init__(params, privates, schedules, fixed=fixed)
        self.current = self._clip.clone()

    def compute(self, traces: Traces) -> LaneBuffer:
        """Return noisy means of gradients clipped at ``current``, on their own scale."""
        scale = (self._clip / self.current)[: self.active]
        grads = super().compute(partial(_scaled, traces, scale.unsqueeze(2)))
        grads.flat.div_(scale)
        return grads


def _scaled(traces: Traces, scale: Tensor, batch: Tensor) -> list[LinearTrace]:
    return [LinearTrace(t.layer, t.inputs, t.delta * scale) for t in traces(batch)]


class _Adaptive(Training[Any]):
    """Looks at gradient norms before some steps, and sets the clip by them."""

    engine: ScaledLanes
    clip: Tensor

    def adapt(self, active: int, step: int) -> None:
        """Set the clip where a check is due."""
        self.clip = self.engine.current  # the base clips free gradients at it
        checks, public = self.params.checks, self.params.source == "public"
        for lane, schedule in enumerate(self.schedules[:active]):
            if step in {k * schedule.steps // checks for k in range(checks)}:
                clip = self._public_clip(lane) if public else self._counted_clip(lane)
                most, least = schedule.clip * _MOST, schedule.clip / _MOST
                self.engine.current[lane] = min(most, max(least, clip))

    def _public_clip(self, lane: int) -> float:
        norms = self._norms(lane, self.public[:_COMPARED])
        return float(self.params.factor * norms.nanquantile(self.params.quantile))

    def _counted_clip(self, lane: int) -> float:
        params, private = self.params, self.privates[lane]
        count = private.noisy_count(
            partial(self._above, lane),
            1,
            noise_multiplier=self.lanes[lane].generator.count_noise,
            name=_COUNT,
        )
        fraction = min(1.0, max(0.0, float(count[0]) / private.size))
        rate = params.clip_rate * (fraction - params.quantile)
        return float(self.engine.current[lane]) * math.exp(-rate)

    def _above(self, lane: int, z: Tensor) -> Tensor:
        """Return 0 for latents ``[B, d]`` with gradients no longer than the clip, else 1."""
        within = self._norms(lane, z.to(self.device)) <= self.engine.current[lane]
        return (~within).long().to(z.device)

    def _norms(self, lane: int, z: Tensor) -> Tensor:
        """Return the norms of the gradients of latents ``[B, d]``."""
        ones, clip = z.new_ones(1, len(z)), self.engine.current[lane : lane + 1]
        layers = LaneBuffer.zeros(self.engine_layers(), 1, self.device)
        return clipped_sum(self.gradients(lane, z[None]), clip, ones, layers)[0]

    @abstractmethod
    def gradients(self, lane: int, batch: Tensor) -> list[LinearTrace]:
        """Trace one lane's loss on ``[1, B, d]``, without randomness."""

    @abstractmethod
    def engine_layers(self) -> Sequence[tuple[int, int]]:
        """The layers of what learns by private gradients."""


def _head(params: LaneBuffer, lane: int) -> LaneBuffer:
    return LaneBuffer(params.layers, params.flat[lane : lane + 1])


class _AdaptiveGenerator(LaneGenerator):
    conditional = False  # a count sees no labels
    count_noise = 0.0

    def make_lane(
        self, private: PrivateLatents, public: Tensor, context: Context
    ) -> TrainingLane[Any]:
        """Share the budget between counts and steps."""
        lane = super().make_lane(private, public, context)  # type: ignore[safe-super]
        self.count_noise, schedule = share_budget(private, self.params, lane.schedule)
        return replace(lane, schedule=schedule)


class AdaptiveVAEParams(vae.VAEParams, AdaptiveParams):
    """Hyperparameters of the VAE, and of its clip."""

    engine: Literal["lanes"] = "lanes"


class AdaptiveVAE(_AdaptiveGenerator, vae.VAE):
    """The VAE with an adaptive clip; norms are counted at the mean of the code."""

    name = "vae-adaptive"
    label = "VAE-adaptive"
    version = "0.1.0"
    Params = AdaptiveVAEParams

    @classmethod
    def train(cls, lanes: list[TrainingLane[vae.VAE]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _VAETraining(lanes, public).run()


class _VAETraining(_Adaptive, vae._Training):
    engine: ScaledLanes
    params: AdaptiveVAEParams

    def before(self, active: int, step: int) -> None:
        super().before(active, step)
        self.adapt(active, step)

    def _lanes(self) -> ScaledLanes:
        self.draws = [private.draws("dp-sgd") for private in self.privates]
        fixed = self.replay.captures
        return ScaledLanes(self.weights, self.privates, self.schedules, fixed=fixed)

    def gradients(self, lane: int, batch: Tensor) -> list[LinearTrace]:
        weight = self._kl_weight(self.schedules[lane])
        return self.net.traces(_head(self.weights, lane), batch, weight, torch.zero_)

    def engine_layers(self) -> Sequence[tuple[int, int]]:
        return self.weights.layers


class AdaptiveGANParams(gan.GANParams, AdaptiveParams):
    """Hyperparameters of the GAN, and of its critic's clip."""

    # Where the base would make Opacus's engine it asks the subclass for its own.
    engine: Literal["opacus"] = "opacus"


class AdaptiveGAN(_AdaptiveGenerator, gan.GAN):
    """The GAN whose critic's clip is adaptive, on records and on generated samples."""

    name = "gan-adaptive"
    label = "GAN-adaptive"
    version = "0.1.0"
    Params = AdaptiveGANParams

    @classmethod
    def train(cls, lanes: list[TrainingLane[gan.GAN]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _GANTraining(lanes, public).run()


class _GANTraining(_Adaptive, gan._Training):
    engine: ScaledLanes
    params: AdaptiveGANParams

    def before(self, active: int, step: int) -> None:
        super().before(active, step)
        self.adapt(active, step)

    def _reference(self) -> ScaledLanes:  # type: ignore[override]
        return ScaledLanes(self.judge, self.privates, self.schedules)

    def gradients(self, lane: int, batch: Tensor) -> list[LinearTrace]:
        judge = _head(self.judge, lane)
        tape = self.critic.forward(judge, batch)
        return self.critic.backward(judge, tape, self.loss.real(tape.output))[0]

    def engine_layers(self) -> Sequence[tuple[int, int]]:
        return self.critic.layers


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench for each file that ``--plugin`` names."""
    register(AdaptiveVAE)
    register(AdaptiveGAN)

"""VaeGM on latents: a single-class variational autoencoder trained by DP-SGD."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.activation import ActivationParams
from dpbench.generators.lane_prior import PriorParams, release_prior
from dpbench.generators.mixture import Mixture
from dpbench.generators.schedule import StepParams, lane_rates, schedule_for
from dpbench.generators.training_lane import LaneGenerator, TrainingLane
from dpbench.generators.vae_lanes import VAEModule, VAENet
from dpbench.privacy.capture import Replay, StepNumbers
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lane_optim import LaneAdam, LaneAverage, lane_optimiser
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.reference import ReferenceLane

__all__ = ["VAE", "VAEParams"]


class VAEParams(PriorParams, StepParams, ActivationParams):
    """Hyperparameters of the VAE; ``None`` stands for a default that follows epsilon, N and d.

    ``pretrain_steps`` fit it to public latents before the first private step, for
    free, where the prior is N(0, I).

    The paper's VaeGM: ``prior = "normal"``, ``skip = 0``, ``noise_scale = 1``,
    ``output_noise = false``, ``hidden = [64]``, ``latent = 32``, ``batch = 64``,
    ``steps = 48000``, ``pretrain_steps = 0``, ``average = false``, ``decay = false``,
    ``weight_decay = 1e-6``, learning rate 0.005 to 0.02.
    """

    hidden: tuple[int, ...] = (128,)
    latent: int | None = Field(None, ge=1)
    skip: float = Field(0.9, ge=0, lt=1)
    noise_scale: float | None = Field(None, gt=0)
    output_noise: bool = True
    kl_weight: float = Field(1.0, ge=0)
    kl_warmup: float = Field(0.0, ge=0, le=1)
    engine: Literal["lanes", "opacus"] = "lanes"

    @model_validator(mode="after")
    def _pretrain_without_a_prior(self) -> VAEParams:
        if self.pretrain_steps and self.released:
            raise ValueError("pretrain_steps needs prior = 'normal'")
        return self


class VAE(LaneGenerator):
    """Encoder and decoder trained by DP-SGD on the evidence lower bound.

    With ``prior = "mixture"`` a part of the budget first releases a Gaussian
    mixture; the VAE then models records in their component's own units, given
    the component, and starts as the mixture itself (see :class:`VAENet`).
    """

    name = "vae"
    label = "VAE"
    Params = VAEParams

    def __init__(self, params: VAEParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        latent = params.latent or latent_dim
        skip = params.skip if latent == latent_dim else 0.0
        self.noise_scale = params.noise_scale or (math.sqrt(1 - skip**2) if skip else 0.3)
        self.net = VAENet(
            latent_dim,
            latent,
            params.hidden,
            params.activation_function,
            skip,
            latent_dim if params.prior == "mixture" else 0,
        )
        self.mixture = Mixture.standard(latent_dim)
        self.flat = torch.zeros(1, 0)

    def prepare(
        self, private: PrivateLatents, public: Tensor, context: Context
    ) -> TrainingLane[VAE]:
        """Release the prior first, so that the steps use up exactly what it leaves."""
        params: VAEParams = self.params
        prior = release_prior(params, private, public)
        schedule = schedule_for(params, private)
        return TrainingLane(self, private, context, prior.to(context.device), schedule)

    @classmethod
    def train(cls, lanes: list[TrainingLane[VAE]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _Training(lanes, public).run()

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Decode draws from the prior, with the decoder's output noise when asked for."""
        which, noise = self.mixture.draw(count, rng)
        z = torch.randn(count, self.net.latent, generator=rng)
        buffer = LaneBuffer(self.net.layers, self.flat)
        with torch.no_grad():
            extra = self.mixture.means[which][None] if self.net.extra else z[None, :, :0]
            made = self.net.decode(buffer, z[None], extra)[0]
        if self.params.output_noise:
            made = made + self.noise_scale * noise
        return self.mixture.place(which, made)


class _Training:
    """One run of :meth:`VAE.train`; everything is ordered by falling steps."""

    def __init__(self, lanes: list[TrainingLane[VAE]], public: Tensor) -> None:
        self.lanes, self.public = lanes, public
        first = lanes[0].generator
        self.params: VAEParams = first.params
        self.net, self.noise_scale = first.net, first.noise_scale
        self.schedules = [lane.schedule for lane in lanes]
        contexts = [lane.context for lane in lanes]
        privates = [lane.private for lane in lanes]
        self.device = contexts[0].device
        self.weights = self.net.initial([c.generator("init") for c in contexts], self.device)
        self.picks = [c.generator("components", self.device) for c in contexts]
        self.draws = [c.generator("latent-noise", self.device) for c in contexts]
        view = self._view if self.params.released else None
        self.replay = (
            Replay()  # the reference engine draws its batches within a step
            if self.params.engine == "opacus"
            else Replay.on(self.device, privates, lambda: self.engine.streams + self.draws)
        )
        self.numbers = StepNumbers(self.device, self.replay.captures)
        self.engine: DPSGDLanes | ReferenceLane
        if self.params.engine == "opacus":
            module = VAEModule(self.net)
            self.engine = ReferenceLane(
                self.weights,
                privates[0],
                self.schedules[0],
                module,
                module.linears,
                lambda tracked, x: module.loss(x, tracked, self.numbers.one("kl")),
                view=view,
                randomness=self.net.latent,
            )
        else:
            fixed = self.replay.captures
            self.engine = DPSGDLanes(self.weights, privates, self.schedules, view=view, fixed=fixed)
        p = self.params
        self.optimiser = lane_optimiser(p.optimiser, self.weights, p.betas, p.weight_decay)
        self.average = LaneAverage(self.weights.flat)

    def _traces(self, params: LaneBuffer, batch: Tensor) -> list[LinearTrace]:
        return self.net.traces(params, batch, self.numbers.per_lane("kl"), self._draw)

    def _kl_weight(self, schedule: LaneSchedule) -> float:
        """The weight of the divergence, rising over the first ``kl_warmup`` of a lane's steps."""
        length = self.params.kl_warmup * schedule.steps
        warm = min(1.0, (self.engine.step + 1) / (length + 1))
        return warm * self.params.kl_weight * self.noise_scale**2

    def _view(self, lane: int, x: Tensor) -> Tensor:
        """A record in its component's units, followed by the component's mean."""
        prior = self.lanes[lane].prior
        shares = prior.responsibilities(x)
        which = torch.multinomial(shares, 1, generator=self.picks[lane]).squeeze(1)
        own = prior.standardise(which, x)
        return torch.cat([own, prior.means[which]], 1) if self.net.extra else own

    def _draw(self, out: Tensor) -> Tensor:
        """Fill the rows that hold records; how many are drawn depends on the lane alone."""
        if isinstance(self.engine, ReferenceLane):
            return self._fill(out)
        out.zero_()
        for lane, size in enumerate(self.engine.sizes[: len(out)]):
            out[lane, :size].normal_(generator=self.draws[lane])
        return out

    def _fill(self, out: Tensor) -> Tensor:
        for lane in range(len(out)):
            out[lane].normal_(generator=self.draws[lane])
        return out

    def run(self) -> None:
        params, buffer = self.params, self.weights
        if params.pretrain_steps:
            self._pretrain()
        total = self.schedules[0].steps
        while (active := self.engine.active) > 0:
            step = self.engine.step
            for i, lane in enumerate(self.lanes[:active]):
                lane.watch(step, buffer.flat[i : i + 1])
            schedules = self.schedules[:active]
            self.numbers.set("kl", [self._kl_weight(schedule) for schedule in schedules])
            self.numbers.set("rates", lane_rates(params, schedules, step, gentle=params.released))
            self.numbers.set("average", [self.average.weight()])
            self.engine.begin()
            self.replay.run(self.engine.key, partial(self._step, buffer.head(active)))
            self.engine.end()
            if step % 50 == 0:
                self.lanes[0].context.progress(step, total)
        final = self.average.flat if params.average else buffer.flat
        for i, lane in enumerate(self.lanes):
            lane.watch(lane.schedule.steps, final[i : i + 1])
            lane.publish(final[i : i + 1])

    def _step(self, head: LaneBuffer) -> None:
        grads = self.engine.compute(partial(self._traces, head))
        self.optimiser.step(grads.flat, self.numbers.all("rates"))
        if self.params.average:
            self.average.blend(head.flat, self.numbers.one("average"))

    def _pretrain(self) -> None:
        """Fit all lanes to public latents; free."""
        params, net = self.params, self.net
        optimiser = LaneAdam(self.weights.flat, params.betas, params.weight_decay)
        picks = [
            c.generator("pretraining", self.device) for c in (lane.context for lane in self.lanes)
        ]
        scale = self.noise_scale**2 * params.kl_weight
        grads = self.weights.like()
        count = 256
        for step in range(params.pretrain_steps):
            rows = torch.stack(
                [
                    torch.randint(len(self.public), (count,), generator=g, device=self.device)
                    for g in picks
                ]
            )
            for trace in net.traces(self.weights, self.public[rows], scale, self._fill):
                torch.bmm(trace.inputs.transpose(1, 2), trace.delta, out=grads.weights[trace.layer])
                torch.sum(trace.delta, 1, keepdim=True, out=grads.biases[trace.layer])
            rate = params.pretrain_rate * (1 - step / params.pretrain_steps)
            optimiser.step(grads.flat.div_(count), [rate] * len(picks))

"""VaeGM on latents: a single-class variational autoencoder trained by DP-SGD."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.activation import ActivationParams
from dpbench.generators.driver import Training
from dpbench.generators.lane_prior import release_prior
from dpbench.generators.mixture import Mixture
from dpbench.generators.schedule import (
    automatic_rate,
    gentle_rate,
    lane_rates,
    schedule_for,
)
from dpbench.generators.training_lane import LaneGenerator, TrainingLane, TrainingParams
from dpbench.generators.vae_lanes import VAEModule, VAENet
from dpbench.privacy.capture import Replay, StepNumbers
from dpbench.privacy.contributions import beside_classes
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lane_optim import LaneAdam, lane_optimiser
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule, clipped_sum
from dpbench.privacy.randomness import SeededSource, fill_normal
from dpbench.privacy.reference import ReferenceLane

__all__ = ["VAE", "VAEParams"]

_BATCH, _STEPS = 1024, (100, 1500)
_RATES = 1e-2, 2e-2
_MODES = 20
_NOISE = 0.6
_GENERATED = 128
"""Samples of the model from which a step estimates how much clipping leaves."""


class VAEParams(TrainingParams, ActivationParams):
    """Hyperparameters of the VAE; ``None`` stands for a default that follows epsilon, N and d.

    See :class:`VAENet` for the networks and the loss.

    The paper's VaeGM: ``prior = "normal"``, ``skip = 0``, ``noise_scale = 1``,
    ``output = "fixed"``, ``modes = 0``, ``output_noise = false``, ``hidden = [64]``,
    ``latent = 32``, ``batch = 64``, ``steps = 48000``, ``average = false``, ``decay = false``,
    ``weight_decay = 1e-6``, learning rate 0.005 to 0.02.

    Attributes:
        learning_rate: not set: 4 / ``steps``, within 0.01 and 0.02, or
            0.002 / (1 + 20 noise multipliers) after a released prior.
        weight_decay: times the parameters, a part of the gradient (of ``lamb``: of the
            direction), whatever the clip: one that is too small leaves gradients too small
            beside it.
        pretrain_steps: steps on public latents before the first private one, for free; where
            ``prior`` is ``normal``.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse.
        latent: size of the code z; not set: a quarter of d, or d with a released prior.
        skip: weight a of the identity: the networks start as x = a z + √(1 - a²) noise; not set:
            0.9 with a released prior, else 0. 0 where ``latent`` is not d.
        noise_scale: standard deviation of the output, in the loss; not set: √(1 - ``skip``²),
            or 0.6 without ``skip``.
        output: whether the output's variance stays ``fixed`` at ``noise_scale``² or is
            ``learned`` from there, for each dimension.
        output_noise: add noise of that variance to samples.
        modes: Gaussians of the learned prior of z; 0: it is N(0, I); not set: 20, or 0 with a
            released prior.
        kl_weight: weight of the divergence.
        kl_warmup: share of the steps over which the divergence rises to its weight.
        engine: ``lanes`` trains many trials at once, ``opacus`` each by itself through Opacus,
            to compare with; that needs ``output = "fixed"`` and ``modes = 0``.
    """

    hidden: tuple[int, ...] = (128,)
    latent: int | None = Field(None, ge=1)
    skip: float | None = Field(None, ge=0, lt=1)
    noise_scale: float | None = Field(None, gt=0)
    output: Literal["fixed", "learned"] = "learned"
    output_noise: bool = True
    weight_decay: float = Field(1e-5, ge=0)
    modes: int | None = Field(None, ge=0)
    kl_weight: float = Field(1.0, ge=0)
    kl_warmup: float = Field(0.0, ge=0, le=1)
    engine: Literal["lanes", "opacus"] = "lanes"

    @model_validator(mode="after")
    def _pretrain_without_a_prior(self) -> VAEParams:
        if self.pretrain_steps and self.released:
            raise ValueError("pretrain_steps needs prior = 'normal'")
        return self

    @model_validator(mode="after")
    def _modes_stand_alone(self) -> VAEParams:
        if self.modes and self.released:
            raise ValueError("modes of a learned prior need prior = 'normal'")
        return self

    @model_validator(mode="after")
    def _reference_knows_the_plain_loss(self) -> VAEParams:
        if self.engine == "opacus" and (self.output == "learned" or self.learned_modes):
            raise ValueError("engine = 'opacus' needs output = 'fixed' and modes = 0")
        return self

    @property
    def learned_modes(self) -> int:
        """How many Gaussians the learned prior has."""
        return self.modes if self.modes is not None else 0 if self.released else _MODES

    def skip_at(self, latent: int, dim: int) -> float:
        """Return the weight of the identity; 0 where it does not fit."""
        skip = self.skip if self.skip is not None else 0.9 if self.released else 0.0
        return skip if latent == dim else 0.0


class VAE(LaneGenerator):
    """Encoder and decoder trained by DP-SGD on the evidence lower bound.

    The whole budget goes to the gradients, and the networks start from nothing.
    With ``prior = "mixture"`` a part of it first releases a Gaussian mixture; the VAE
    then models records in their component's own units, given the component, and
    starts as the mixture itself (see :class:`VAENet`). With labels both networks see the
    class, and a released prior is one for each.
    """

    name = "vae"
    label = "VAE"
    Params = VAEParams

    def __init__(self, params: VAEParams, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)
        latent = params.latent or (latent_dim if params.released else max(1, latent_dim // 4))
        skip = params.skip_at(latent, latent_dim)
        self.noise_scale = params.noise_scale or (math.sqrt(1 - skip**2) if skip else _NOISE)
        self.net = VAENet(
            latent_dim,
            latent,
            params.hidden,
            params.activation_function,
            skip,
            (latent_dim if params.prior == "mixture" else 0) + self.marks,
            self.noise_scale,
            params.output == "learned",
            params.learned_modes,
        )
        self.mixture = Mixture.standard(latent_dim)
        self.flat = torch.zeros(1, 0)

    def make_lane(
        self, private: PrivateLatents, public: Tensor, context: Context
    ) -> TrainingLane[VAE]:
        """Release the prior first, so that the steps use up exactly what it leaves."""
        params: VAEParams = self.params
        prior = release_prior(params, private, public)
        schedule = schedule_for(params, private, _BATCH, *_STEPS)
        return TrainingLane(self, private, context, prior.to(context.device), schedule)

    def initial(self, contexts: Sequence[Context]) -> LaneBuffer:
        """Draw the networks of many lanes; with ``skip`` they are an exact model of the prior."""
        return self.net.initial([c.generator("init") for c in contexts], contexts[0].device)

    @classmethod
    def train(cls, lanes: list[TrainingLane[VAE]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _Training(lanes, public).run()

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Decode draws from the prior, with the decoder's output noise when asked for."""
        which, noise = self.mixture.draw(count, rng, labels)
        z = torch.randn(1, count, self.net.latent, generator=rng)
        uniform = torch.rand(1, count, self.net.modes, generator=rng)
        buffer = LaneBuffer(self.net.layers, self.flat)
        with torch.no_grad():
            z = self.net.draw_codes(buffer, z, uniform)
            extra = self.mixture.means[which] if self.params.prior == "mixture" else z[0, :, :0]
            if labels is not None:
                extra = beside_classes(extra, labels, self.classes)
            made = self.net.decode(buffer, z, extra[None])
            if self.params.output_noise:
                made = made + self.net.output_noise(buffer) * noise[None]
        return self.mixture.place(which, made[0])


class _Training(Training[VAE]):
    """Steps on the evidence lower bound; the learned prior's normaliser is a free part of it."""

    params: VAEParams

    def __init__(self, lanes: list[TrainingLane[VAE]], public: Tensor) -> None:
        super().__init__(lanes, public)
        first, p = lanes[0].generator, self.params
        self.net, self.noise_scale = first.net, first.noise_scale
        device, contexts = self.device, self.contexts
        self.picks = [private.draws("components") for private in self.privates]
        self.free = [c.generator("generated", device) for c in contexts]
        self.replay = Replay()  # the reference engine draws its batches within a step
        if p.engine == "lanes":
            self.replay = Replay.on(device, self.privates, self._streams)
        self.numbers = StepNumbers(device, self.replay.captures)
        self.clip = torch.tensor([s.clip for s in self.schedules], device=device).unsqueeze(1)
        self.scratch = self.weights.like()
        self.engine = self._reference() if p.engine == "opacus" else self._lanes()
        self.optimiser = lane_optimiser(p.optimiser, self.weights, p.betas, p.weight_decay)
        if p.pretrain_steps:
            self._pretrain()

    def _streams(self) -> list[torch.Generator]:
        """All that a captured step draws from; never asked for where the source is secret."""
        seeded = (source for source in self.draws if isinstance(source, SeededSource))
        return self.engine.streams + [s.generator(self.device) for s in seeded] + self.free

    def _lanes(self) -> DPSGDLanes:
        self.draws = [private.draws("dp-sgd") for private in self.privates]
        view = self._view if self.params.released else None
        fixed = self.replay.captures
        return DPSGDLanes(
            self.weights, self.privates, self.schedules, view=view, fixed=fixed, labelled=True
        )

    def _reference(self) -> ReferenceLane:
        module = VAEModule(self.net)
        return ReferenceLane(
            self.weights,
            self.privates[0],
            self.schedules[0],
            module,
            module.linears,
            lambda tracked, x: module.loss(x, tracked, self.numbers.one("kl")),
            view=self._view if self.params.released else None,
            randomness=self.net.latent,
            labelled=True,
        )

    def before(self, active: int, step: int) -> None:
        """Set the weights of the divergence and the rates."""
        schedules = self.schedules[:active]
        self.numbers.set("kl", [self._kl_weight(schedule) for schedule in schedules])
        rates = lane_rates(self.params, schedules, step, self._rate)
        self.numbers.set("rates", rates)
        self.count_average()

    def _rate(self, schedule: LaneSchedule) -> float:
        return gentle_rate(schedule) if self.params.released else automatic_rate(schedule, *_RATES)

    def step(self, active: int) -> None:
        """Move by the noisy gradient on records and the normaliser's own."""
        head = self.weights.head(active)
        grads = self.engine.compute(partial(self._traces, head))
        if self.net.modes:
            weight = self.numbers.per_lane("kl") * self._kept(head)
            self.net.add_normaliser(head, weight, grads)
        self.optimiser.step(grads.flat, self.numbers.all("rates"))
        self.average(active)

    def _kept(self, head: LaneBuffer) -> Tensor:
        """How much clipping leaves of a generated sample's gradient, ``[A, 1, 1]``.

        The normaliser must weigh as much as what it normalises: records' clipping is
        private, but that of samples from the model itself is free.
        """
        lanes, net = len(head.flat), self.net
        x = self.marked(self._generated(head))
        traces = net.traces(head, x, self.numbers.per_lane("kl"), self._noise)
        clip, ones = self.clip[:lanes], x.new_ones(x.shape[:2])
        norms = clipped_sum(traces, clip, ones, self.scratch.head(lanes))
        return (clip / norms.clamp_min(1e-30)).clamp_max(1).mean(1).view(-1, 1, 1)

    def _generated(self, head: LaneBuffer) -> Tensor:
        lanes, net = len(head.flat), self.net
        uniform = head.flat.new_empty(lanes, _GENERATED, net.modes)
        for lane in range(lanes):
            uniform[lane].uniform_(generator=self.free[lane])
        z = net.draw_codes(
            head, self._noise(uniform.new_empty(lanes, _GENERATED, net.latent)), uniform
        )
        made = net.decode(head, z, self.marked(z[..., :0]))
        return made + net.output_noise(head) * self._noise(torch.empty_like(made))

    def _noise(self, out: Tensor) -> Tensor:
        for lane in range(len(out)):
            out[lane].normal_(generator=self.free[lane])
        return out

    def _traces(self, params: LaneBuffer, batch: Tensor) -> list[LinearTrace]:
        return self.net.traces(params, batch, self.numbers.per_lane("kl"), self._draw)

    def _kl_weight(self, schedule: LaneSchedule) -> float:
        """The weight of the divergence, rising over the first ``kl_warmup`` of a lane's steps."""
        length = self.params.kl_warmup * schedule.steps
        warm = min(1.0, (self.engine.step + 1) / (length + 1))
        return warm * self.params.kl_weight * self.noise_scale**2

    def _view(self, lane: int, rows: Tensor) -> Tensor:
        """A record in its component's units, followed by the component's mean and its class."""
        prior, dim = self.lanes[lane].prior, self.net.dim
        x, own_class = rows[:, :dim], rows[:, dim:]
        shares = prior.responsibilities(x, own_class)
        uniform = self.picks[lane].uniform(shares.shape, shares.device).clamp(1e-30, 1 - 1e-7)
        which = (shares.log() - (-uniform.log()).log()).argmax(1)  # a draw by Gumbel's trick
        own = prior.standardise(which, x)
        mean = prior.means[which] if self.params.prior == "mixture" else x[:, :0]
        return torch.cat([own, mean, own_class], 1)

    def _draw(self, out: Tensor) -> Tensor:
        """Fill the rows that hold records; how many are drawn depends on the lane alone."""
        assert isinstance(self.engine, DPSGDLanes)
        out.zero_()
        for lane, size in enumerate(self.engine.sizes[: len(out)]):
            fill_normal(self.draws[lane], out[lane, :size])
        return out

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
            seen = self._unmarked(self.public[rows])
            for trace in net.traces(self.weights, seen, scale, self._noise):
                torch.bmm(trace.inputs.transpose(1, 2), trace.delta, out=grads.weights[trace.layer])
                torch.sum(trace.delta, 1, keepdim=True, out=grads.biases[trace.layer])
            rate = params.pretrain_rate * (1 - step / params.pretrain_steps)
            optimiser.step(grads.flat.div_(count), [rate] * len(picks))

    def _unmarked(self, x: Tensor) -> Tensor:
        """Leave room for classes beside public latents, which have none."""
        return torch.nn.functional.pad(x, (0, self.net.extra))

"""DP-GAN on latents: the critic sees private latents through DP-SGD only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.generators.activation import ActivationParams
from dpbench.generators.driver import Training
from dpbench.generators.gan_lanes import AdversarialLoss, add_free_gradient, weight_clip_bound
from dpbench.generators.lane_prior import PriorPool, release_prior
from dpbench.generators.mixture import Mixture
from dpbench.generators.schedule import (
    automatic_rate,
    gentle_rate,
    lane_rates,
    schedule_for,
)
from dpbench.generators.training_lane import LaneGenerator, TrainingLane, TrainingParams
from dpbench.privacy.capture import Replay, StepNumbers
from dpbench.privacy.contributions import beside_classes
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lane_optim import lane_optimiser
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.reference import LinearStack, ReferenceLane

__all__ = ["GAN", "GANParams"]

_BATCH, _STEPS = 1024, (200, 1500)
_RATES, _GENERATOR_RATE = (5e-3, 1e-2), 5e-3


class GANParams(TrainingParams, ActivationParams):
    """Hyperparameters of the GAN; ``None`` stands for a default that follows epsilon, N and d.

    The paper's DP-GAN: ``loss = "wasserstein"``, ``prior = "normal"``, ``skip = false``,
    ``penalty = 0``, ``weight_clip = 0.01``, ``critic_steps = 5``, ``batch = 64``,
    ``average = false``, ``decay = false``.

    Attributes:
        batch: expected size of a Poisson batch, so the sampling rate is ``batch / N``; not set:
            1,024, or 512 without noise, at most a quarter of N.
        steps: of the critic, the only ones that cost privacy; not set: 200 √ε, at least 200 and
            at most 1,500, which is also what is taken without noise. 0 with a released prior:
            that start alone.
        learning_rate: of the critic; not set: 4 / ``steps``, within 0.005 and 0.01, or
            0.002 / (1 + noise multiplier) after a released prior.
        pretrain_steps: must stay 0: a GAN has no use for it.
        pretrain_rate: without effect in a GAN.
        hidden: widths of the generator's hidden layers.
        critic_hidden: widths of the critic's hidden layers.
        latent: size of the generator's input; not set, or with a released prior: d.
        skip: add the input to the output, so that the generator starts as the identity; where
            ``latent`` is d.
        loss: ``logistic`` (softplus of the critic's output) or ``wasserstein`` (that output).
        critic_steps: steps of the critic for one of the generator.
        fakes: generated samples in a step.
        penalty: weight of the zero-centred gradient penalty on generated samples; free.
        public_penalty: weight of the same on public latents; free.
        bound: what a record can move: ``per-sample``: the trial's clip; ``weight-clip``: what
            follows from clipped weights (the paper's Eq. 4) instead; it needs ``weight_clip``
            and a bounded activation.
        weight_clip: bound on the critic's weights; not set: none.
        generator_rate: learning rate of the generator; not set: ``learning_rate``, else 0.005,
            or 0.002 / (1 + 20 noise multipliers) after a released prior.
        engine: ``lanes`` trains many trials at once, ``opacus`` each by itself through Opacus,
            to compare with.
    """

    hidden: tuple[int, ...] = (128, 128)
    critic_hidden: tuple[int, ...] = (128, 128)
    latent: int | None = Field(None, ge=1)
    skip: bool = True
    loss: Literal["logistic", "wasserstein"] = "logistic"
    critic_steps: int = Field(2, ge=1)
    fakes: int = Field(512, ge=1)
    penalty: float = Field(1.0, ge=0)
    public_penalty: float = Field(0.0, ge=0)
    bound: Literal["per-sample", "weight-clip"] = "per-sample"
    weight_clip: float | None = Field(None, gt=0)
    generator_rate: float | None = Field(None, gt=0)
    engine: Literal["lanes", "opacus"] = "lanes"

    @model_validator(mode="after")
    def _never_pretrained(self) -> GANParams:
        if self.pretrain_steps:
            raise ValueError("pretrain_steps is for the VAE: a GAN has no use for it")
        return self


class GAN(LaneGenerator):
    """A generator led by a critic whose private gradient is clipped and noised.

    With a released prior the generator's input is a draw from it, and with
    ``skip`` the generator starts as the identity: the GAN begins at the prior and
    learns what the critic can still tell apart. With labels both networks see the class.
    """

    name = "gan"
    label = "GAN"
    Params = GANParams

    def __init__(self, params: GANParams, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)
        latent = latent_dim if params.released else params.latent or latent_dim
        self.skip = params.skip and latent == latent_dim
        act = params.activation_function
        self.net = LaneMLP((latent + self.marks, *params.hidden, latent_dim), act)
        self.critic = LaneMLP((latent_dim + self.marks, *params.critic_hidden, 1), act)
        bounded = math.isfinite(weight_clip_bound(self.critic, 1))
        if params.bound == "weight-clip" and not (params.weight_clip and bounded):
            raise DpbenchError(
                "bound = 'weight-clip' needs weight_clip and a bounded activation "
                "(tanh or tempered_sigmoid)"
            )
        self.mixture = Mixture.standard(latent)
        self.flat = torch.zeros(1, 0)

    def make_lane(
        self, private: PrivateLatents, public: Tensor, context: Context
    ) -> TrainingLane[GAN]:
        """Release the prior first, so that the steps use up exactly what it leaves."""
        params: GANParams = self.params
        prior = self.mixture
        if params.released:
            prior = release_prior(params, private, public)
        batch = _BATCH if private.budget.private else _BATCH // 2  # no noise to outweigh
        schedule = schedule_for(params, private, batch, *_STEPS)
        if params.bound == "weight-clip":
            bound = weight_clip_bound(self.critic, params.weight_clip or 0.0)
            schedule = replace(schedule, clip=bound)
        return TrainingLane(self, private, context, prior.to(context.device), schedule)

    def initial(self, contexts: Sequence[Context]) -> LaneBuffer:
        """Draw the generator's networks of many lanes; with ``skip`` they are the identity."""
        buffer = LaneBuffer.zeros(self.net.layers, len(contexts), contexts[0].device)
        buffer.initialise([c.generator("init:generator") for c in contexts], self.skip)
        return buffer

    @classmethod
    def train(cls, lanes: list[TrainingLane[GAN]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _Training(lanes, public).run()

    def sample(self, count: int, rng: torch.Generator, labels: Tensor | None = None) -> Tensor:
        """Push draws from the prior, of the classes ``labels``, through the generator."""
        start = self.mixture.sample(count, rng, labels)
        seen = start if labels is None else beside_classes(start, labels, self.classes)
        with torch.no_grad():
            made = self.net.forward(LaneBuffer(self.net.layers, self.flat), seen[None]).output[0]
        return made + start if self.skip else made


class _Training(Training[GAN]):
    """Critic steps, which see private latents, and a generator step after every few of them."""

    params: GANParams

    def __init__(self, lanes: list[TrainingLane[GAN]], public: Tensor) -> None:
        super().__init__(lanes, public)
        first, p = lanes[0].generator, self.params
        self.net, self.critic, self.skip = first.net, first.critic, first.skip
        self.marks = first.marks
        self.loss = AdversarialLoss(p.loss)
        device, contexts = self.device, self.contexts
        self.judge = LaneBuffer.zeros(self.critic.layers, len(lanes), device)
        self.judge.initialise([c.generator("init:critic") for c in contexts])
        self.public_picks = [c.generator("public", device) for c in contexts]
        self.replay, self.free_replay = Replay(), Replay()
        if p.engine == "lanes":  # the reference engine draws batches within a step
            self.replay = Replay.on(
                device, self.privates, lambda: self.engine.streams + self.public_picks
            )
            self.free_replay = Replay.on(device, self.privates, list)
        fixed = self.replay.captures
        self.numbers = StepNumbers(device, fixed)
        priors = [lane.prior for lane in lanes]
        self.pool = PriorPool(priors, contexts, "fakes", p.fakes, device, fixed=fixed)
        self.engine = (
            self._reference()
            if p.engine == "opacus"
            else DPSGDLanes(self.judge, self.privates, self.schedules, fixed=fixed, labelled=True)
        )
        self.clip = torch.tensor([s.clip for s in self.schedules], device=device).unsqueeze(1)
        self.critic_optimiser = lane_optimiser(p.optimiser, self.judge, p.betas, p.weight_decay)
        self.optimiser = lane_optimiser(p.optimiser, self.weights, p.betas, p.weight_decay)
        self.grads = self.weights.like()

    def _reference(self) -> ReferenceLane:
        module = LinearStack(self.critic.sizes, self.critic.activation)
        linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
        return ReferenceLane(
            self.judge,
            self.privates[0],
            self.schedules[0],
            module,
            linears,
            lambda tracked, x: self.loss.real_value(tracked(x)).squeeze(1),
            labelled=True,
        )

    def before(self, active: int, step: int) -> None:
        """Set the critic's rates; draw its fakes."""
        rates = lane_rates(self.params, self.schedules[:active], step, self._rate)
        self.numbers.set("critic", rates)
        self.pool.advance(active)

    def _rate(self, schedule: LaneSchedule) -> float:
        if self.params.released:
            return 2e-3 / (1 + schedule.noise_multiplier)
        return automatic_rate(schedule, *_RATES)

    def _generator_rate(self, schedule: LaneSchedule) -> float:
        return gentle_rate(schedule) if self.params.released else _GENERATOR_RATE

    def step(self, active: int) -> None:
        """Move the critic by its noisy gradient on records and its own on fakes."""
        params, judge = self.params, self.judge.head(active)

        def real(x: Tensor) -> list[LinearTrace]:
            tape = self.critic.forward(judge, x)
            return self.critic.backward(judge, tape, self.loss.real(tape.output))[0]

        grads = self.engine.compute(real)
        start, marks = self.pool.batch, self.marks
        x = self.net.forward(self.weights.head(active), self.marked(start)).output
        x = self.marked(x.add_(start) if self.skip else x)
        tape = self.critic.forward(judge, x)
        clip = self.clip[:active] if params.bound == "per-sample" else None
        slope = self.loss.fake(tape.output)
        add_free_gradient(self.critic, judge, x, slope, tape, clip, params.penalty, grads, marks)
        if params.public_penalty > 0:
            x = self.marked(self._public(active, params.fakes))
            tape = self.critic.forward(judge, x)
            weight = params.public_penalty
            add_free_gradient(self.critic, judge, x, None, tape, None, weight, grads, marks)
        self.critic_optimiser.step(grads.flat, self.numbers.all("critic"))
        if params.weight_clip:
            judge.flat.clamp_(-params.weight_clip, params.weight_clip)

    def after(self, active: int, step: int) -> None:
        """Move the generator after every ``critic_steps`` of the critic's; free."""
        params = self.params
        if step % params.critic_steps != params.critic_steps - 1:
            return
        schedules = self.schedules[:active]
        own = params.generator_rate
        rates = lane_rates(params, schedules, step, self._generator_rate, own)
        self.numbers.set("generator", rates)
        self.count_average()
        self.pool.advance(active)
        self.free_replay.run(active, partial(self._generator_step, active))

    def _generator_step(self, active: int) -> None:
        head, judge = self.weights.head(active), self.judge.head(active)
        start = self.pool.batch
        made = self.net.forward(head, self.marked(start))
        x = self.marked(made.output.add_(start) if self.skip else made.output)
        tape = self.critic.forward(judge, x)
        _, grad = self.critic.backward(judge, tape, self.loss.real(tape.output), need_input=True)
        assert grad is not None
        grads = self.grads.head(active)
        grad = grad[..., : made.output.shape[-1]].div_(x.shape[1])
        for trace in self.net.backward(head, made, grad)[0]:
            k = trace.layer
            torch.bmm(trace.inputs.transpose(1, 2), trace.delta, out=grads.weights[k])
            torch.sum(trace.delta, 1, keepdim=True, out=grads.biases[k])
        self.optimiser.step(grads.flat, self.numbers.all("generator"))
        self.average(active)

    def _public(self, active: int, count: int) -> Tensor:
        picks = [
            torch.randint(len(self.public), (count,), generator=g, device=self.public.device)
            for g in self.public_picks[:active]
        ]
        return self.public[torch.stack(picks)]

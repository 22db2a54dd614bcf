"""DP-GAN on latents: the critic sees private latents through DP-SGD only."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.generators.activation import ActivationParams
from dpbench.generators.gan_lanes import AdversarialLoss, add_free_gradient, weight_clip_bound
from dpbench.generators.lane_prior import PriorParams, PriorPool, release_prior
from dpbench.generators.mixture import Mixture
from dpbench.generators.schedule import StepParams, lane_rates, schedule_for
from dpbench.generators.training_lane import LaneGenerator, TrainingLane
from dpbench.privacy.capture import Replay, StepNumbers
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lane_optim import LaneAverage, lane_optimiser
from dpbench.privacy.lanes import DPSGDLanes
from dpbench.privacy.reference import LinearStack, ReferenceLane

__all__ = ["GAN", "GANParams"]


class GANParams(PriorParams, StepParams, ActivationParams):
    """Hyperparameters of the GAN; ``None`` stands for a default that follows epsilon, N and d.

    ``steps`` counts critic steps, the only ones that cost privacy; the generator
    moves once every ``critic_steps`` of them. ``penalty`` weighs the zero-centred
    gradient penalty on generated samples, ``public_penalty`` the same on public
    latents; neither costs privacy. ``bound = "weight-clip"`` takes the sensitivity
    from clipped weights (the paper's Eq. 4) instead of the trial's clip.

    The paper's DP-GAN: ``loss = "wasserstein"``, ``prior = "normal"``, ``skip = false``,
    ``penalty = 0``, ``weight_clip = 0.01``, ``critic_steps = 5``, ``batch = 64``,
    ``average = false``, ``decay = false``.
    """

    hidden: tuple[int, ...] = (128,)
    critic_hidden: tuple[int, ...] = (64,)
    latent: int | None = Field(None, ge=1)
    skip: bool = True
    loss: Literal["logistic", "wasserstein"] = "logistic"
    critic_steps: int = Field(5, ge=1)
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
    learns what the critic can still tell apart.
    """

    name = "gan"
    label = "GAN"
    Params = GANParams

    def __init__(self, params: GANParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        latent = latent_dim if params.released else params.latent or latent_dim
        self.skip = params.skip and latent == latent_dim
        act = params.activation_function
        self.net = LaneMLP((latent, *params.hidden, latent_dim), act)
        self.critic = LaneMLP((latent_dim, *params.critic_hidden, 1), act)
        bounded = math.isfinite(weight_clip_bound(self.critic, 1))
        if params.bound == "weight-clip" and not (params.weight_clip and bounded):
            raise DpbenchError(
                "bound = 'weight-clip' needs weight_clip and a bounded activation "
                "(tanh or tempered_sigmoid)"
            )
        self.mixture = Mixture.standard(latent)
        self.flat = torch.zeros(1, 0)

    def prepare(
        self, private: PrivateLatents, public: Tensor, context: Context
    ) -> TrainingLane[GAN]:
        """Release the prior first, so that the steps use up exactly what it leaves."""
        params: GANParams = self.params
        prior = self.mixture
        if params.released:
            prior = release_prior(params, private, public)
        schedule = schedule_for(params, private)
        if params.bound == "weight-clip":
            bound = weight_clip_bound(self.critic, params.weight_clip or 0.0)
            schedule = replace(schedule, clip=bound)
        return TrainingLane(self, private, context, prior.to(context.device), schedule)

    @classmethod
    def train(cls, lanes: list[TrainingLane[GAN]], public: Tensor) -> None:
        """Train lanes that are ordered by falling steps, and publish each."""
        _Training(lanes, public).run()

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Push draws from the prior through the generator."""
        start = self.mixture.sample(count, rng)
        with torch.no_grad():
            made = self.net.forward(LaneBuffer(self.net.layers, self.flat), start[None]).output[0]
        return made + start if self.skip else made


class _Training:
    """One run of :meth:`GAN.train`; everything is ordered by falling steps."""

    def __init__(self, lanes: list[TrainingLane[GAN]], public: Tensor) -> None:
        self.lanes, self.public = lanes, public
        first = lanes[0].generator
        self.params: GANParams = first.params
        self.net, self.critic, self.skip = first.net, first.critic, first.skip
        self.schedules = [lane.schedule for lane in lanes]
        contexts = [lane.context for lane in lanes]
        privates = [lane.private for lane in lanes]
        self.loss = AdversarialLoss(self.params.loss)
        device = contexts[0].device
        count = len(lanes)
        self.weights = LaneBuffer.zeros(self.net.layers, count, device)
        self.weights.initialise([c.generator("init:generator") for c in contexts], self.skip)
        self.judge = LaneBuffer.zeros(self.critic.layers, count, device)
        self.judge.initialise([c.generator("init:critic") for c in contexts])
        fakes = self.params.fakes
        self.public_picks = [c.generator("public", device) for c in contexts]
        self.critic_replay, self.replay = Replay(), Replay()
        if self.params.engine == "lanes":  # the reference engine draws batches within a step
            self.critic_replay = Replay.on(
                device, privates, lambda: self.engine.streams + self.public_picks
            )
            self.replay = Replay.on(device, privates, list)
        fixed = self.critic_replay.captures
        self.numbers = StepNumbers(device, fixed)
        priors = [lane.prior for lane in lanes]
        self.pool = PriorPool(priors, contexts, "fakes", fakes, device, fixed=fixed)
        self.engine: DPSGDLanes | ReferenceLane
        if self.params.engine == "opacus":
            module = LinearStack(self.critic.sizes, self.critic.activation)
            linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
            self.engine = ReferenceLane(
                self.judge,
                privates[0],
                self.schedules[0],
                module,
                linears,
                lambda tracked, x: self.loss.real_value(tracked(x)).squeeze(1),
            )
        else:
            self.engine = DPSGDLanes(self.judge, privates, self.schedules, fixed=fixed)
        self.clip = torch.tensor([s.clip for s in self.schedules], device=device).unsqueeze(1)
        p = self.params
        self.critic_optimiser = lane_optimiser(p.optimiser, self.judge, p.betas, p.weight_decay)
        self.optimiser = lane_optimiser(p.optimiser, self.weights, p.betas, p.weight_decay)
        self.average = LaneAverage(self.weights.flat)
        self.grads = self.weights.like()

    def run(self) -> None:
        params, total = self.params, self.schedules[0].steps
        every = params.critic_steps
        while (active := self.engine.active) > 0:
            step = self.engine.step
            for i, lane in enumerate(self.lanes[:active]):
                lane.watch(step, self.weights.flat[i : i + 1])
            schedules = self.schedules[:active]
            self.numbers.set("critic", lane_rates(params, schedules, step))
            self.pool.advance(active)
            self.engine.begin()
            self.critic_replay.run(self.engine.key, partial(self._critic_step, active))
            self.engine.end()
            if step % every == every - 1:
                own = params.generator_rate
                rates = lane_rates(params, schedules, step, own, gentle=params.released)
                self.numbers.set("generator", rates)
                self.numbers.set("average", [self.average.weight()])
                self.pool.advance(active)
                self.replay.run(active, partial(self._generator_step, active))
            if step % 50 == 0:
                self.lanes[0].context.progress(step, total)
        final = self.average.flat if params.average else self.weights.flat
        for i, lane in enumerate(self.lanes):
            lane.watch(lane.schedule.steps, final[i : i + 1])
            lane.publish(final[i : i + 1])

    def _critic_step(self, active: int) -> None:
        params, judge = self.params, self.judge.head(active)

        def real(x: Tensor) -> list[LinearTrace]:
            tape = self.critic.forward(judge, x)
            return self.critic.backward(judge, tape, self.loss.real(tape.output))[0]

        grads = self.engine.compute(real)
        start = self.pool.batch
        x = self.net.forward(self.weights.head(active), start).output
        x = x.add_(start) if self.skip else x
        tape = self.critic.forward(judge, x)
        clip = self.clip[:active] if params.bound == "per-sample" else None
        slope = self.loss.fake(tape.output)
        add_free_gradient(self.critic, judge, x, slope, tape, clip, params.penalty, grads)
        if params.public_penalty > 0:
            x = self._public(active, params.fakes)
            tape = self.critic.forward(judge, x)
            weight = params.public_penalty
            add_free_gradient(self.critic, judge, x, None, tape, None, weight, grads)
        self.critic_optimiser.step(grads.flat, self.numbers.all("critic"))
        if params.weight_clip:
            judge.flat.clamp_(-params.weight_clip, params.weight_clip)

    def _generator_step(self, active: int) -> None:
        params, head, judge = self.params, self.weights.head(active), self.judge.head(active)
        start = self.pool.batch
        made = self.net.forward(head, start)
        x = made.output.add_(start) if self.skip else made.output
        tape = self.critic.forward(judge, x)
        _, grad = self.critic.backward(judge, tape, self.loss.real(tape.output), need_input=True)
        assert grad is not None
        grads = self.grads.head(active)
        for trace in self.net.backward(head, made, grad.div_(x.shape[1]))[0]:
            k = trace.layer
            torch.bmm(trace.inputs.transpose(1, 2), trace.delta, out=grads.weights[k])
            torch.sum(trace.delta, 1, keepdim=True, out=grads.biases[k])
        self.optimiser.step(grads.flat, self.numbers.all("generator"))
        if params.average:
            self.average.blend(head.flat, self.numbers.one("average"))

    def _public(self, active: int, count: int) -> Tensor:
        picks = [
            torch.randint(len(self.public), (count,), generator=g, device=self.public.device)
            for g in self.public_picks[:active]
        ]
        return self.public[torch.stack(picks)]

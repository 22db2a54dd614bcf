"""Critic and generator against each other: on public images first, then on private ones."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpbench.api import Context
from dpbench.api.privacy import PrivateGradient, PrivateLatents
from dpbench_pixel.networks import Critic, Generator, start

if TYPE_CHECKING:
    from dpbench_pixel.gan import DPGANParams

__all__ = ["Adversaries"]


class Adversaries:
    """A critic, a generator, and the average of the generator that is published.

    Attributes:
        average: what the generator is on average over its last steps.
    """

    def __init__(self, net: Generator, params: DPGANParams, context: Context) -> None:
        self.net, self.params, self.context = net, params, context
        self.average = copy.deepcopy(net).requires_grad_(False)
        self.critic = Critic(net.shape, params.width)
        start(self.critic, context.generator("init:critic"))
        self.critic.to(context.device)
        # DP-SGD watches the layers of the critic: generated images pass through a copy of it.
        self.twin = copy.deepcopy(self.critic)
        self.noise = context.generator("noise", context.device)

    def learn_public(self, public: Tensor) -> None:
        """Learn from public images ``[M, d]`` without noise."""
        rng = self.context.generator("public batches", self.context.device)
        optimisers = self._optimisers()

        def real() -> None:
            rows = torch.randint(
                len(public), (self.params.fakes,), generator=rng, device=public.device
            )
            loss = looks_real(self.critic, public[rows]).mean()
            _set(self.critic, torch.autograd.grad(loss, list(self.critic.parameters())))

        for step in range(self.params.pretrain_steps):
            real()
            self._step(step, *optimisers)

    def learn_private(self, private: PrivateLatents) -> None:
        """Learn from private images by DP-SGD, with all that is left of the budget."""
        batch, steps = schedule(self.params, private)
        gradient = PrivateGradient(
            private,
            self.critic,
            looks_real,
            sampling_rate=min(1.0, batch / private.size),
            steps=steps,
            engine="opacus",
        )
        optimisers = self._optimisers()
        for step in range(steps):
            gradient.step()
            self._step(step, *optimisers)
            if step % 20 == 0:
                self.context.progress(step, steps)

    def _optimisers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        betas = (0.5, 0.99)
        return (
            torch.optim.Adam(self.critic.parameters(), self.params.critic_rate, betas),
            torch.optim.Adam(self.net.parameters(), self.params.generator_rate, betas),
        )

    def _step(
        self, step: int, critic: torch.optim.Optimizer, generator: torch.optim.Optimizer
    ) -> None:
        """Complete the critic's gradient on real images by that on fakes; move who is due."""
        self._judge_fakes()
        critic.step()
        if (step + 1) % self.params.critic_steps == 0:
            self.twin.load_state_dict(self.critic.state_dict())
            loss = looks_real(self.twin, self.net(self._draw())).mean()
            _set(self.net, torch.autograd.grad(loss, list(self.net.parameters())))
            generator.step()
            self._blend()

    def _judge_fakes(self) -> None:
        self.twin.load_state_dict(self.critic.state_dict())
        with torch.no_grad():
            fakes = self.net(self._draw())
        loss = F.softplus(self.twin(fakes)).mean()
        found = torch.autograd.grad(loss, list(self.twin.parameters()))
        for p, extra in zip(self.critic.parameters(), found, strict=True):
            p.grad = extra if p.grad is None else p.grad + extra

    def _draw(self) -> Tensor:
        shape = (self.params.fakes, self.net.latent)
        return torch.randn(shape, generator=self.noise, device=self.context.device)

    @torch.no_grad()
    def _blend(self) -> None:
        for kept, new in zip(self.average.parameters(), self.net.parameters(), strict=True):
            kept.lerp_(new, 1 - self.params.average)


def looks_real(critic: nn.Module, images: Tensor) -> Tensor:
    """Return the loss of taking ``images`` ``[B, d]`` for generated ones, ``[B]``."""
    return F.softplus(-critic(images))


def schedule(params: DPGANParams, private: PrivateLatents) -> tuple[int, int]:
    """Return batch and steps: under much noise few steps with large batches."""
    heavy = private.budget.private and private.budget.epsilon < 3
    batch = params.batch or (1024 if heavy else 512)
    return min(batch, private.size), params.steps or (200 if heavy else 500)


def _set(net: nn.Module, gradients: tuple[Tensor, ...]) -> None:
    for p, gradient in zip(net.parameters(), gradients, strict=True):
        p.grad = gradient

"""Votes, student, generator: one round after another (Jordon et al. 2019, Algorithm 1)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.api.privacy import PrivateLatents, release_part_sum
from dpbench_pategan.networks import Discriminator, Generator, looks_real, start
from dpbench_pategan.teachers import Classroom

if TYPE_CHECKING:
    from dpbench_pategan import PATEGANParams

__all__ = ["Game", "heard"]

#: Generated latents that teachers learn from.
FAKES = 256


class Game:
    """Generator and student, and the handle through which teachers are asked.

    Attributes:
        average: what the generator is on average over its last steps.
    """

    def __init__(
        self, net: Generator, params: PATEGANParams, private: PrivateLatents, context: Context
    ) -> None:
        self.net, self.params, self.private, self.context = net, params, private, context
        self.student = Discriminator(private.dim, params.hidden)
        start(net, context.generator("init:generator"))
        start(self.student, context.generator("init:student"))
        net.to(context.device)
        self.student.to(context.device)
        self.average = copy.deepcopy(net).requires_grad_(False)
        self.rng = context.generator("noise", context.device)
        betas = (0.5, 0.99)
        self.learner = torch.optim.Adam(self.student.parameters(), params.student_rate, betas)
        self.mover = torch.optim.Adam(net.parameters(), params.generator_rate, betas)
        self.lessons: list[tuple[Tensor, Tensor]] = []

    def play(self, teachers: int) -> None:
        """Take all rounds, with so many teachers."""
        rounds = self.params.rounds
        noise = self.private.noise_multiplier(sampling_rate=1.0, steps=rounds)
        for turn in range(rounds):
            votes = self.ask(turn, teachers, noise)
            self.teach_student()
            self.move_generator(turn, heard(votes, noise * self.params.queries**0.5))
            self.context.progress(turn + 1, rounds)

    def ask(self, turn: int, teachers: int, noise: float) -> Tensor:
        """Let teachers vote on generated latents, ``[M]``; keep what the majority says."""
        params = self.params
        fakes, queries = self.draw(min(params.queries, FAKES)), self.draw(params.queries)
        room = Classroom(self.student, fakes, queries, params.teacher_steps, params.teacher_rate)
        votes = release_part_sum(
            self.private,
            room.votes,
            parts=teachers,
            clip=params.queries**0.5 / 2,
            noise_multiplier=noise,
            name=f"votes-{turn}",
        )
        self.lessons.append((queries, (votes > 0).float()))
        return votes

    def teach_student(self) -> None:
        """Fit the student to the latest votes."""
        z, labels = (torch.cat(c) for c in zip(*self.lessons[-self.params.memory :], strict=True))
        for _ in range(self.params.student_steps):
            loss = looks_real(self.student(z).squeeze(1), labels)
            self.learner.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.learner.step()

    def move_generator(self, turn: int, heard: float) -> None:
        """Move the generator to what the student takes for real, less far under much noise."""
        params = self.params
        for step in range(params.generator_steps):
            done = (turn + step / params.generator_steps) / params.rounds
            for group in self.mover.param_groups:
                group["lr"] = params.generator_rate * heard**0.5 * (1 - done)
            noise = self.noise(params.queries)
            loss = looks_real(self.student(self.net(noise)).squeeze(1), 1.0)
            slopes = torch.autograd.grad(loss, list(self.net.parameters()))
            for p, slope in zip(self.net.parameters(), slopes, strict=True):
                p.grad = slope
            self.mover.step()
            self.blend()

    @torch.no_grad()
    def draw(self, count: int) -> Tensor:
        """Generate ``count`` latents."""
        made: Tensor = self.net(self.noise(count))
        return made

    def noise(self, count: int) -> Tensor:
        return torch.randn(count, self.private.dim, generator=self.rng, device=self.context.device)

    @torch.no_grad()
    def blend(self) -> None:
        for kept, new in zip(self.average.parameters(), self.net.parameters(), strict=True):
            kept.lerp_(new, 0.02)


def heard(votes: Tensor, noise: float) -> float:
    """Return which part of the votes' power is not noise of standard deviation ``noise``."""
    power = float(votes.square().mean())
    return max(0.0, 1 - noise**2 / power) if power > 0 else 0.0

"""PATE-GAN on latents: what a student learns from noisy votes leads a generator.

Jordon, Yoon and van der Schaar 2019, "PATE-GAN: Generating synthetic data with differential
privacy guarantees" (ICLR).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.api.privacy import PrivateLatents
from dpbench_pategan.networks import Generator
from dpbench_pategan.training import Game

__all__ = ["PATEGAN", "PATEGANParams", "register_generators"]


class PATEGANParams(Params):
    """Hyperparameters; the table ``[generators.pategan]`` sets them, ``None`` is automatic."""

    teachers: int | None = Field(None, ge=1, description="disjoint parts of the records")
    rounds: int = Field(40, ge=1, description="votes; each is a release")
    queries: int = Field(1000, ge=1, description="generated latents that are voted on in a round")
    teacher_steps: int = Field(10, ge=1, description="a teacher's steps in a round")
    teacher_rate: float = Field(0.1, gt=0, description="their rate")
    student_steps: int = Field(50, ge=1, description="the student's steps in a round")
    generator_steps: int = Field(10, ge=1, description="the generator's steps in a round")
    hidden: int = Field(64, ge=1, description="width of discriminators")
    generator_hidden: int = Field(128, ge=1, description="width of the generator")
    memory: int = Field(5, ge=1, description="rounds whose votes the student learns from")
    student_rate: float = Field(1e-3, gt=0, description="Adam's for the student")
    generator_rate: float = Field(2e-4, gt=0, description="Adam's for the generator")


class PATEGAN(PrivateGenerator):
    """A generator led by a student discriminator that private records reach through votes.

    Votes are numbers of teachers plus Gaussian noise; accounting holds whatever the
    teachers say (it does not depend on data).
    """

    name = "pategan"
    label = "PATEGAN"
    version = "0.1.0"
    Params: ClassVar[type[Params]] = PATEGANParams
    cost = 60.0
    check_params: ClassVar = {"teachers": 10, "rounds": 5}
    params: PATEGANParams

    def __init__(self, params: PATEGANParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.net = Generator(latent_dim, params.generator_hidden)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Spend all of the budget on votes."""
        game = Game(self.net, self.params, private, context)
        game.play(self.teachers(private))
        self.net.load_state_dict(game.average.state_dict())
        self.net.to("cpu")

    def teachers(self, private: PrivateLatents) -> int:
        """Choose how many teachers vote: more under noise, which a majority has to exceed."""
        epsilon = private.budget.epsilon if private.budget.private else math.inf
        automatic = 200 if epsilon < 3 else 100 if epsilon < math.inf else 30
        return min(self.params.teachers or automatic, private.size)

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Push ``count`` draws of N(0, I) through the generator, ``[count, d]``."""
        made: Tensor = self.net(torch.randn(count, self.latent_dim, generator=rng))
        return made

    def state(self) -> dict[str, Tensor]:
        """Return the generator's parameters."""
        return {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.net.load_state_dict(state)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(PATEGAN)

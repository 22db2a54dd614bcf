"""Private generators under test: small latents, and fits of a few steps on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator
from dpbench.privacy.by_class import make_generator, trained_as
from dpbench.privacy.handle import Budget
from dpbench.privacy.mechanism import Tape
from dpbench.privacy.replay.remembered import remembered
from dpbench.privacy.session import PrivateSession
from dpbench.testing.subject import Subject

__all__ = ["DELTA", "DIM", "Fitted", "GeneratorSubject", "Trial", "private_latents", "rng"]

DIM, SIZE, PUBLIC = 8, 600, 300
DELTA = 1e-6


def rng(seed: int) -> torch.Generator:
    """Return a generator for ``seed``."""
    return torch.Generator().manual_seed(seed)


def private_latents(size: int = SIZE, dim: int = DIM) -> Tensor:
    """Two clusters, 70 and 30 per cent, at -2 and 2 on the first axis, ``[size, dim]``."""
    own = rng(21)
    latents = 0.5 * torch.randn(size, dim, generator=own)
    latents[:, 0] += torch.where(torch.rand(size, generator=own) < 0.7, -2.0, 2.0)
    return latents


def public_latents(size: int = PUBLIC, dim: int = DIM) -> Tensor:
    """Standard normal latents ``[size, dim]``, as public ones are once standardised."""
    return torch.randn(size, dim, generator=rng(22))


@dataclass(frozen=True)
class Trial:
    """What the harness fits: a budget, a clip, and where free draws and noise come from."""

    epsilon: float = 1.0
    clip: float = 1.0
    seed: int = 11
    noise_seed: int = 101
    noise_multiplier: float | None = None
    secure: bool = False
    tape: Tape | None = None

    def session(
        self, private: Tensor, context: Context, labels: Tensor | None, classes: int
    ) -> PrivateSession:
        """Open this trial's access to ``private``."""
        return PrivateSession(
            private.to(context.device),
            Budget(self.epsilon, DELTA, self.noise_multiplier),
            self.clip,
            replace(context, seed=self.seed),
            noise_seed=self.noise_seed,
            secure_rng=self.secure,
            tape=self.tape,
            labels=labels,
            classes=classes,
        )


@dataclass(frozen=True)
class Fitted:
    """A trial after its fit."""

    generator: PrivateGenerator
    session: PrivateSession

    def sample(self, count: int = 64, seed: int = 5) -> Tensor:
        """Draw latents."""
        return self.generator.sample(count, rng(seed))

    def state(self) -> dict[str, Tensor]:
        """Return copies of all that the generator keeps."""
        return {k: v.detach().cpu().clone() for k, v in self.generator.state().items()}


class GeneratorSubject(Subject):
    """A private generator, and fits of it."""

    base = PrivateGenerator

    def __init__(self, cls: type[Any], given: Mapping[str, Any]) -> None:
        super().__init__(cls, given)
        self.private, self.public = private_latents(), public_latents()

    def fit(
        self,
        *trials: Trial,
        private: Tensor | None = None,
        public: Tensor | None = None,
        context: Context | None = None,
        labels: Tensor | None = None,
        classes: int = 1,
    ) -> list[Fitted]:
        """Fit ``trials`` together, as the harness does, of labelled records by class."""
        private = self.private if private is None else private
        public = public_latents(PUBLIC, private.shape[1]) if public is None else public
        context = context or Context(0)
        sessions = [trial.session(private, context, labels, classes) for trial in trials]
        generators = [self.fresh(private.shape[1], classes) for _ in trials]
        remembered(self.cls).restore()
        contexts = [session.context for session in sessions]
        trained_as(self.cls, classes).fit_lanes(generators, _handles(sessions), public, contexts)
        return [Fitted(*pair) for pair in zip(generators, sessions, strict=True)]

    def fresh(self, dim: int, classes: int = 1) -> PrivateGenerator:
        """Return one that has not been fitted."""
        return make_generator(self.cls, self.params, dim, classes)

    @property
    def usual(self) -> Fitted:
        """The fit at epsilon 1 that several checks look at."""
        return self.remember("usual", lambda: self.fit(Trial())[0])

    def work(self, context: Context) -> dict[str, Tensor]:
        trial = Trial(seed=context.seed)
        fitted = self.fit(trial, public=self.public, context=context)[0]
        return {**fitted.state(), "samples": fitted.sample()}

    def lent(self) -> dict[str, Tensor]:
        return {"public": self.public, "private": self.private}


def _handles(sessions: Sequence[PrivateSession]) -> list[Any]:
    return [session.handle for session in sessions]

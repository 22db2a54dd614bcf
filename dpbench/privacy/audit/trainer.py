"""Train generators in the company in which they are run, and observe each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator, derive_seed
from dpbench.privacy.audit.scores import Observation, StateScore, observe
from dpbench.privacy.by_class import make_generator, trained_as
from dpbench.privacy.handle import Budget
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.records import Records
from dpbench.privacy.session import PrivateSession

__all__ = ["Subject", "Trainer"]

Learned = Sequence[dict[str, StateScore]]
"""For each subject, the scores of its state that were learned on earlier runs."""


@dataclass(frozen=True)
class Subject:
    """One trial under audit: hyperparameters, budget and clip."""

    params: Any
    budget: Budget
    clip: float


@dataclass
class Trainer:
    """Trains all of a ``company`` in each call, and observes every member of it.

    A call holds the company once, as in a run: whatever members share there, they
    share here, and runs share nothing. A trial without company is trained beside
    ``lanes - 1`` others of its runs.

    Attributes:
        claims: for each subject, the epsilon and the ledger of its costliest training.
    """

    cls: type[PrivateGenerator]
    company: Sequence[Subject]
    public: Tensor
    canaries: Records
    seed: int
    lanes: int
    samples: int
    device: torch.device
    on_run: Callable[[int], None]
    claims: dict[int, tuple[float, tuple[Mechanism, ...]]] = field(default_factory=dict)

    def train(
        self, records: Records, runs: Iterable[int], world: str, learned: Learned = ()
    ) -> list[list[Observation]]:
        """Train on ``records`` once for each of ``runs``; return each subject's observations.

        With ``learned`` scores an observation keeps those instead of the state.
        """
        runs = list(runs)
        copies = self.lanes if len(self.company) == 1 else 1
        found: list[list[Observation]] = [[] for _ in self.company]
        for start in range(0, len(runs), copies):
            for at, seen in enumerate(self._call(records, runs[start : start + copies], world)):
                for observation in seen:
                    kept = observation.with_scores(learned[at]) if learned else observation
                    found[at].append(kept)
            self.on_run(min(len(runs), start + copies))
        return found

    def _call(self, records: Records, runs: Sequence[int], world: str) -> list[list[Observation]]:
        """Train the company once for each of ``runs``, all in one call."""
        members = [(at, subject) for _ in runs for at, subject in enumerate(self.company)]
        seats = [(world, run, at) for run in runs for at in range(len(self.company))]
        contexts = [Context(derive_seed("audit", self.seed, *seat), self.device) for seat in seats]
        dim, classes = records.latents.shape[1], records.classes
        generators = [make_generator(self.cls, s.params, dim, classes) for _, s in members]
        sessions = [
            self._session(records, subject, context, derive_seed("audit-noise", self.seed, *seat))
            for (_, subject), context, seat in zip(members, contexts, seats, strict=True)
        ]
        handles = [session.handle for session in sessions]
        trained_as(self.cls, classes).fit_lanes(generators, handles, self.public, contexts)
        found: list[list[Observation]] = [[] for _ in self.company]
        for (at, _), generator, session in zip(members, generators, sessions, strict=True):
            self._note(at, session)
            found[at].append(self._observe(generator, session))
        return found

    def _session(
        self, records: Records, subject: Subject, context: Context, noise_seed: int
    ) -> PrivateSession:
        return PrivateSession(
            records.latents,
            subject.budget,
            subject.clip,
            context,
            noise_seed=noise_seed,
            canaries=self.canaries.latents,
            canary_labels=self.canaries.labels,
            labels=records.labels,
            classes=records.classes,
        )

    def _note(self, at: int, session: PrivateSession) -> None:
        ledger = tuple(session.ledger.mechanisms)
        if at in self.claims and self.claims[at][1] == ledger:
            return
        epsilon = session.spent.epsilon
        if at not in self.claims or epsilon > self.claims[at][0]:
            self.claims[at] = (epsilon, ledger)

    def _observe(self, generator: PrivateGenerator, session: PrivateSession) -> Observation:
        rng = session.context.generator("audit-samples")
        centre = self.public.mean(0)
        return observe(generator, session, self.canaries, centre, self.samples, rng)

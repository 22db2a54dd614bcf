"""Train generators in the company in which they are run, and observe each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator, derive_seed
from dpbench.privacy.accounting import compose
from dpbench.privacy.audit.scores import Observation, StateScore, observe
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.ledger import Mechanism

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

    A call holds whole copies of the company, each with seeds of its own, as many
    as ``lanes`` allows: whatever members share in a run, they share here.

    Attributes:
        claims: for each subject, the epsilon and the ledger of its costliest training.
    """

    cls: type[PrivateGenerator]
    company: Sequence[Subject]
    public: Tensor
    canaries: Tensor
    seed: int
    lanes: int
    samples: int
    device: torch.device
    on_run: Callable[[int], None]
    claims: dict[int, tuple[float, tuple[Mechanism, ...]]] = field(default_factory=dict)

    def train(
        self, records: Tensor, runs: Iterable[int], world: str, learned: Learned = ()
    ) -> list[list[Observation]]:
        """Train on ``records`` once for each of ``runs``; return each subject's observations.

        With ``learned`` scores an observation keeps those instead of the state.
        """
        runs = list(runs)
        copies = max(1, self.lanes // len(self.company))
        found: list[list[Observation]] = [[] for _ in self.company]
        for start in range(0, len(runs), copies):
            for at, seen in enumerate(self._call(records, runs[start : start + copies], world)):
                for observation in seen:
                    kept = observation.with_scores(learned[at]) if learned else observation
                    found[at].append(kept)
            self.on_run(min(len(runs), start + copies))
        return found

    def _call(self, records: Tensor, runs: Sequence[int], world: str) -> list[list[Observation]]:
        """Train one copy of the company for each of ``runs``, all in one call."""
        records = records[records.isfinite().all(1)]  # TEMPORARY
        members = [(at, subject) for _ in runs for at, subject in enumerate(self.company)]
        seeds = [
            derive_seed(self.seed, "audit", world, run, at)
            for run in runs
            for at in range(len(self.company))
        ]
        contexts = [Context(seed, self.device) for seed in seeds]
        generators = [self.cls(subject.params, records.shape[1]) for _, subject in members]
        privates = [
            PrivateLatents(records, subject.budget, subject.clip, context)
            for (_, subject), context in zip(members, contexts, strict=True)
        ]
        for private in privates:
            private.watch(self.canaries)
        self.cls.fit_lanes(generators, privates, self.public, contexts)
        found: list[list[Observation]] = [[] for _ in self.company]
        for (at, subject), generator, private, context in zip(
            members, generators, privates, contexts, strict=True
        ):
            self._note(at, tuple(private.ledger.mechanisms), subject.budget.delta)
            found[at].append(self._observe(generator, private, context))
        return found

    def _note(self, at: int, ledger: tuple[Mechanism, ...], delta: float) -> None:
        if at in self.claims and self.claims[at][1] == ledger:
            return
        epsilon = compose(ledger, delta).epsilon
        if at not in self.claims or epsilon > self.claims[at][0]:
            self.claims[at] = (epsilon, ledger)

    def _observe(
        self, generator: PrivateGenerator, private: PrivateLatents, context: Context
    ) -> Observation:
        rng = context.generator("audit-samples")
        centre = self.public.mean(0)
        return observe(generator, private, self.canaries, centre, self.samples, rng)

"""What a private generator promises about privacy: its budget, its releases, and nothing else."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.privacy.handle import Budget
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.randomness import SecureUnavailable
from dpbench.privacy.replay import ReplayLane, replay
from dpbench.privacy.status import privacy_problem
from dpbench.store import Artifact, Store
from dpbench.testing.checks import Figures, NotRun, checking, refusable, require
from dpbench.testing.generator_subject import DELTA, Fitted, GeneratorSubject, Trial
from dpbench.testing.measure import measured
from dpbench.testing.tensors import require_latents

MOST_STEP_SECONDS = 2.0


@checking("generator")
def keeps_its_budget(subject: GeneratorSubject) -> None:
    """What the ledger comes to stays within epsilon, and something is learned through it."""
    for epsilon in (0.1, 1.0, 10.0):
        (fitted,) = subject.fit(Trial(epsilon))
        require_accounted(fitted, epsilon)


def require_accounted(fitted: Fitted, epsilon: float | None) -> None:
    ledger, spent = fitted.session.ledger, fitted.session.spent.model_dump(mode="json")
    require(bool(ledger.mechanisms), "it learns without any mechanism of the handle")
    problem = privacy_problem(ledger.model_dump(mode="json"), spent, epsilon)
    require(problem is None, str(problem))


@checking("generator")
def uses_its_budget(subject: GeneratorSubject) -> Figures:
    """At least nine tenths of epsilon are spent: what is left buys less noise."""
    part = subject.usual.session.spent.epsilon / 1.0
    require(part >= 0.9, f"it spends {part:.2f} of its budget: ask for share=1 at the end")
    return {"share of epsilon": part}


@checking("generator")
def without_noise(subject: GeneratorSubject) -> None:
    """At epsilon = infinity, the grid's reference row, it learns without noise."""
    (fitted,) = subject.fit(Trial(math.inf))
    require_latents(fitted.sample(9), 9, subject.private.shape[1], "a sample at infinite epsilon")
    noisy = [m.name for m in fitted.session.ledger.mechanisms if m.noise_multiplier]
    require(not noisy, f"it adds noise to {', '.join(noisy)} though epsilon is infinite")


@checking("generator")
def with_a_given_noise(subject: GeneratorSubject) -> None:
    """A noise multiplier that the grid gives takes the place of one for epsilon."""
    with refusable():
        (fitted,) = subject.fit(Trial(math.inf, noise_multiplier=1.5))
    require_accounted(fitted, None)
    multipliers = [m.noise_multiplier for m in fitted.session.ledger.mechanisms]
    require(1.5 in multipliers, f"asked for noise of 1.5 it takes {multipliers}")
    require(min(multipliers) > 0, "a release has no noise, though the trial has")


@checking("generator")
def next_to_nothing_to_spend(subject: GeneratorSubject) -> None:
    """At epsilon 0.01, a tiny and a large clip, samples are finite and the budget holds."""
    for trial in (Trial(0.01), Trial(clip=1e-3), Trial(clip=1e3)):
        (fitted,) = subject.fit(trial)
        require_accounted(fitted, trial.epsilon)
        require_latents(fitted.sample(9), 9, subject.private.shape[1], "a sample")


@checking("generator")
def releases_in_secure_mode(subject: GeneratorSubject) -> None:
    """It fits with the secure source, whose numbers nobody can draw again."""
    try:
        (fitted,) = subject.fit(Trial(secure=True))
    except SecureUnavailable as missing:
        raise NotRun(str(missing)) from missing
    require_accounted(fitted, 1.0)
    require_latents(fitted.sample(3), 3, subject.private.shape[1], "a sample")


@checking("generator")
def replays(subject: GeneratorSubject) -> Figures:
    """All that leaves a fit follows from its recorded releases, alone and beside another trial."""
    lanes = [
        ReplayLane(subject.params, Budget(epsilon, DELTA), 1.0, seed)
        for epsilon, seed in ((8.0, 31), (1.0, 32))
    ]
    # Alone, as progress is not compared between different companies.
    releases = [_replayed(subject, company) for company in (lanes[:1], lanes)]
    return {"releases": float(sum(releases))}


def _replayed(subject: GeneratorSubject, lanes: Sequence[ReplayLane]) -> int:
    with _surroundings() as store:
        found = replay(
            subject.cls,
            lanes,
            subject.public,
            subject.private,
            records=400,
            store=store.root,
        )
    if found.verdict == "not-replayed" and _raw(subject):
        raise NotRun(found.reason)
    require(found.verdict == "passed", found.reason)
    return found.releases


@contextlib.contextmanager
def _surroundings() -> Iterator[Store]:
    """Stand in a directory as a run has it: a store with private images, and their labels."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch, "runs", "artifacts"))
        labels = torch.arange(9) % 3
        images = {"private.images": torch.zeros(9, 1, 4, 4, dtype=torch.uint8)}
        store.save("data", "0" * 32, Artifact({}, {**images, "private.labels": labels}))
        os.chdir(scratch)
        try:
            yield store
        finally:
            os.chdir(before)


def _raw(subject: GeneratorSubject) -> bool:
    return subject.usual.session.ledger.trust == "self-declared"


class _Stop(BaseException):
    """Stands for Ctrl-C."""


class _Interrupting:
    """A tape that ends the first release."""

    heard = False

    def release(self, mechanism: Mechanism, total: Tensor, noisy: Callable[[], Tensor]) -> Tensor:
        self.heard = True
        raise _Stop

    def part(self, division: int, number: int) -> _Interrupting:
        return self


@checking("generator")
def stops_within_a_release(subject: GeneratorSubject) -> None:
    """An interruption while a release is made ends the fit."""
    tape = _Interrupting()
    with contextlib.suppress(_Stop):
        subject.fit(Trial(tape=tape))
        if not tape.heard:
            raise NotRun("it makes no release through the handle")
        require(False, "it goes on after an interruption: catch Exception, not BaseException")


@checking("generator")
def a_private_step_is_quick(subject: GeneratorSubject) -> Figures:
    """A release or a step on 600 records takes under two seconds of CPU time."""
    with measured() as found:
        (fitted,) = subject.fit(Trial(), context=Context(11))
    steps = max(1, sum(m.count for m in fitted.session.ledger.mechanisms))
    each = found.seconds / steps
    require(each <= MOST_STEP_SECONDS, f"it takes {each:.1f} s of CPU time a step")
    return {"CPU seconds a step": each, "steps": float(steps), "GiB": found.gib}

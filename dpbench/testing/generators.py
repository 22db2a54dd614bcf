"""What a private generator promises beside privacy: shapes, seeds, state, company."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.store import Artifact, Store
from dpbench.testing.checks import Figures, NotRun, checking, refusable, require
from dpbench.testing.generator_subject import (
    GeneratorSubject,
    Trial,
    private_latents,
    rng,
)
from dpbench.testing.tensors import ROUNDING, first_difference, require_latents, same

COUNTS = (1, 7, 64)
SIZES = (8, 63, 256)


@checking("generator")
def samples_are_latents(subject: GeneratorSubject) -> None:
    """``sample(count)`` gives finite float32 ``[count, d]`` on the CPU, for any count."""
    for count in COUNTS:
        require_latents(subject.usual.sample(count), count, subject.usual.generator.latent_dim,
                        f"sample({count})")  # fmt: skip


@checking("generator")
def latents_of_any_size(subject: GeneratorSubject) -> None:
    """It fits latents of 8 to 256 numbers, odd sizes too."""
    for dim in SIZES:
        (fitted,) = subject.fit(Trial(), private=private_latents(200, dim))
        require_latents(fitted.sample(3), 3, dim, f"a sample of {dim}-dimensional latents")


@checking("generator")
def any_number_of_records(subject: GeneratorSubject) -> Figures:
    """It fits one record, two, and an odd number, with few public latents, or refuses kindly."""
    fitted = [size for size in (37, 2, 1) if _fits(subject, size)]
    if not fitted:
        raise NotRun("it refuses up to 37 records")
    return {"fewest records": float(min(fitted))}


def _fits(subject: GeneratorSubject, size: int) -> bool:
    private, public = private_latents(size), subject.public[:20].clone()
    try:
        with refusable():
            (fitted,) = subject.fit(Trial(), private=private, public=public)
    except NotRun:
        return False
    require_latents(fitted.sample(3), 3, private.shape[1], f"a sample after {size} records")
    return True


@checking("generator")
def records_that_are_all_alike(subject: GeneratorSubject) -> None:
    """Records of one class, without any spread, give finite samples."""
    private = subject.private[:1].repeat(200, 1)
    for epsilon in (1.0, float("inf")):
        (fitted,) = subject.fit(Trial(epsilon), private=private)
        require_latents(fitted.sample(3), 3, private.shape[1], f"a sample at epsilon {epsilon:g}")


@checking("generator")
def null_records(subject: GeneratorSubject) -> None:
    """Records that contribute nothing are fitted like any others, even if all are such."""
    private = subject.private.clone()
    private[::2] = torch.nan
    for records in (private, torch.full_like(private, torch.nan)):
        (fitted,) = subject.fit(Trial(), private=records)
        require_latents(fitted.sample(3), 3, private.shape[1], "a sample beside null records")


@checking("generator")
def samples_follow_their_generator(subject: GeneratorSubject) -> None:
    """Sampling repeats with the generator it is given, and differs with another."""
    first = subject.usual.sample()
    torch.manual_seed(3)
    require(same(first, subject.usual.sample()), "the same generator gives other samples")
    require(not same(first, subject.usual.sample(seed=6)), "all generators give the same samples")


@checking("generator")
def sampling_changes_nothing(subject: GeneratorSubject) -> None:
    """Drawing samples leaves the state as it is."""
    before = subject.usual.state()
    subject.usual.sample()
    difference = first_difference(before, subject.usual.state())
    require(difference is None, f"sampling changes {difference}")


@checking("generator")
def state_survives_the_store(subject: GeneratorSubject) -> None:
    """A fresh instance with the stored state samples what the fitted one samples."""
    fitted = subject.usual
    for name, tensor in fitted.generator.state().items():
        require(isinstance(tensor, Tensor), f"state()[{name!r}] is no tensor")
        require(tensor.device.type == "cpu", f"state()[{name!r}] is on {tensor.device}")
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch))
        store.save("generator", "key", Artifact({}, fitted.generator.state()))
        other = subject.cls(subject.params, fitted.generator.latent_dim)
        other.restore(store.load("generator", "key").tensors)
        found = other.sample(64, rng(5)).clone()
    require(same(fitted.sample(), found, ROUNDING), "a restored instance samples something else")


@checking("generator")
def another_seed_is_another_fit(subject: GeneratorSubject) -> None:
    """Noise reaches the state: other seeds, or another noise of the harness's, give another."""
    declares = subject.usual.session.ledger.trust == "self-declared"  # then its noise is its own
    (other,) = subject.fit(Trial(seed=12 if declares else 11, noise_seed=102))
    difference = first_difference(subject.usual.state(), other.state())
    require(difference is not None, "two seeds of noise give the same state")


@checking("generator")
def alone_as_beside_others(subject: GeneratorSubject) -> None:
    """A trial gets the numbers that it gets alone when it is trained beside others."""
    trials = (Trial(), Trial(8.0, 0.5, seed=12, noise_seed=103), Trial(3.0, seed=13))
    for trial, beside in zip(trials, subject.fit(*trials), strict=True):
        (alone,) = subject.fit(trial)
        before = {**alone.state(), "samples": alone.sample()}
        after = {**beside.state(), "samples": beside.sample()}
        difference = first_difference(before, after, ROUNDING)
        require(difference is None, f"{difference} differs beside other trials")


@checking("generator")
def snapshots_are_a_few_latents(subject: GeneratorSubject) -> None:
    """Snapshots are at most ten latents ``[n, d]`` each, at rising steps."""
    seen: list[tuple[int, Tensor]] = []
    context = Context(11, on_snapshot=lambda step, latents: seen.append((step, latents)))
    subject.work(context)
    for _, latents in seen:
        require(len(latents) <= 10, f"a snapshot of {len(latents)} latents")
        require_latents(latents, len(latents), subject.private.shape[1], "a snapshot")
    steps = [step for step, _ in seen]
    require(steps == sorted(set(steps)), f"snapshots at steps {steps}")

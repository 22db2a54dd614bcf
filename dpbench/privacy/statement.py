"""The privacy statement of one trial, in words that a data owner can check."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dpbench.privacy.ledger import Ledger, Mechanism, check_inclusions

if TYPE_CHECKING:
    from dpbench.privacy.accounting import Spent
    from dpbench.privacy.audit import AuditResult
    from dpbench.privacy.selection import SelectionCost
    from dpbench.results import Result

__all__ = ["privacy_statement"]

_NOT_COVERED = (
    "The number of private records is treated as public: it sets sampling rates.",
    "The public images, the evaluator and everything computed from public images alone are not "
    "protected, and must be disjoint from the private images.",
    "A person with several images in the data is protected image by image, not as a whole.",
    "Default hyperparameters were tuned on MNIST; tuning on the data being protected is not "
    "accounted for.",
    "The scores themselves (FID and the like) look at private images without noise: publishing "
    "them, or choosing by them, is outside epsilon.",
)


def privacy_statement(result: Result, selection: SelectionCost | None = None) -> str:
    """Return the statement of ``result`` as Markdown.

    ``selection`` adds what choosing this trial among others by its scores costs.
    A control, or a trial that spent nothing, gets the statement that it has none.
    """
    if result.privacy is None:
        return f"# Privacy of {result.method}\n\nNo private mechanism was used or recorded.\n"
    ledger, spent = result.privacy.ledger, result.privacy.spent
    sections = {
        "Guarantee": _guarantee(spent, result),
        "Accounting": _accounting(spent, ledger),
        "Mechanisms": _mechanisms(ledger),
        "Sampling": _sampling(ledger),
        "Audit": [_audit(result.audit)],
        "Randomness": [_randomness(ledger)],
        "Selection": [_selection(selection)],
        "Not covered": [f"- {line}" for line in _NOT_COVERED],
    }
    title = (
        f"Privacy of {result.method} on {result.dataset}, clip {result.clip}, seed {result.seed}"
    )
    parts = [f"# {title}", *(f"## {name}\n\n" + "\n".join(sections[name]) for name in sections)]
    return "\n\n".join(parts) + "\n"


def _guarantee(spent: Spent, result: Result) -> Iterator[str]:
    if math.isinf(spent.epsilon):
        yield "**None.** This trial used private images without noise (epsilon = infinity)."
        return
    if result.status == "over-budget":
        yield f"**Not as configured: {result.reason}.** The figures below are what was recorded."
        yield ""
    yield (
        f"The trained generator and any number of its samples are ({_figure(spent.epsilon)}, "
        f"{spent.delta:g})-differentially private. Unit: one private image. Adjacency: data sets "
        "that differ by adding or removing one image."
    )


def _accounting(spent: Spent, ledger: Ledger) -> Iterator[str]:
    yield f"- Opacus ({spent.opacus_accountant.upper()}): {_figure(spent.opacus)}"
    google = spent.dp_accounting_accountant.upper()
    yield f"- Google dp-accounting ({google}): {_figure(spent.dp_accounting)}"
    yield f"- Epsilon is the larger of the two; they differ by {spent.disagreement:.2%}."
    if spent.disagrees:
        yield "- **They disagree by more than 2%**: treat both with care."
    if ledger.trust == "ledger":
        yield "- The harness applied every mechanism itself and composed what it recorded."
    else:
        yield (
            "- **Self-declared**: the generator read the latents themselves; the mechanisms "
            "below are its own word."
        )


def _mechanisms(ledger: Ledger) -> Iterator[str]:
    yield "| mechanism | uses | sampling rate | noise multiplier | L2 sensitivity |"
    yield "|---|---|---|---|---|"
    yield from map(_row, ledger.mechanisms)


def _row(mechanism: Mechanism) -> str:
    return (
        f"| {mechanism.name} | {mechanism.count:,} | {mechanism.sampling_rate:.4g} "
        f"| {mechanism.noise_multiplier:.4g} | {mechanism.sensitivity:.4g} |"
    )


def _sampling(ledger: Ledger) -> Iterator[str]:
    if all(mechanism.sampling_rate == 1 for mechanism in ledger.mechanisms):
        yield "Every mechanism used all records; nothing was subsampled."
        return
    yield (
        "Poisson: each record joined each step on its own with the stated probability, "
        "so batch sizes vary."
    )
    if ledger.trust != "ledger":
        yield "Declared by the generator, not observed."
        return
    problems = check_inclusions(ledger)
    if problems:
        yield from (f"- **{problem}**" for problem in problems)
    else:
        yield "The samples drawn were counted, and agree with that."


def _audit(audit: AuditResult | None) -> str:
    return "Not audited." if audit is None else f"{audit}."


def _randomness(ledger: Ledger) -> str:
    if ledger.rng == "secure":
        return (
            "Noise and samples came from ChaCha20 keyed by the operating system, and cannot be "
            "repeated. Initial weights and other draws that protect nothing are seeded."
        )
    return (
        "Noise and samples were drawn from a known seed: **this run is a benchmark, not a "
        "release.** Whoever knows the seed can remove the noise. Train with `secure_rng = true` "
        "before sharing anything."
    )


def _selection(selection: SelectionCost | None) -> str:
    if selection is None:
        return "Epsilon is of this trial alone. Choosing it among others by its scores costs more."
    return (
        f"Chosen among {selection.candidates} trials by private scores, it costs epsilon = "
        f"{_figure(selection.composed)} by composition; {_figure(selection.randomised)} had the "
        "number of tries been drawn at random and only the best been shown (Papernot and "
        "Steinke 2022)."
    )


def _figure(epsilon: float) -> str:
    return "infinity" if math.isinf(epsilon) else f"{epsilon:.4g}"

"""How numbers, targets and protocols are written for a reader."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dpbench.metrics.uncertainty import Interval
from dpbench.results import Result

__all__ = [
    "CONTROLS",
    "STATUSES",
    "count_text",
    "delta_text",
    "duration",
    "evaluator_text",
    "heading",
    "interval_text",
    "number",
    "privacy_text",
    "protocol_text",
    "ratio_text",
    "significant",
]

EVALUATORS = {
    "domain": "the domain classifier (a small network trained on the labelling images, "
    "not Inception)",
    "inception": "the 2015 TensorFlow Inception network",
}
REFERENCES = {
    "private-train": "the private training images",
    "private-test": "held-out test images of the private classes",
}
CONTROLS = {
    "real": "held-out real images",
    "reconstruction": "private latents, decoded",
    "public-prior": "the public model alone: ε = 0",
    "public-images": "public images: what / public divides by",
}
STATUSES = {
    "ok": "trained, sampled, and within its budget",
    "collapsed": "a private class holds under 1% of the samples: shown with †, ranked last",
    "over-budget": "the ledger comes to more than the target ε: never ranked",
    "diverged": "training reached NaN or infinity: no score",
    "failed": "an error, given as the reason: no score",
    "skipped": "something it needs failed: no score",
}


def number(value: float, digits: int = 1) -> str:
    """Print with ``digits`` decimals, and with more where only zeros would be seen."""
    if not math.isfinite(value):
        return "∞" if value > 0 else str(value)
    while value and abs(value) < 10.0 ** (1 - digits) and digits < 6:
        digits += 1
    return f"{value:.{digits}f}"


def significant(value: float, digits: int = 3) -> str:
    """Print with ``digits`` significant figures, never in scientific notation: ``351``."""
    if not math.isfinite(value):
        return "∞"
    if not value:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def interval_text(interval: Interval | None, digits: int, usual: int) -> str:
    """Print mean ± standard deviation; the count where it is not the ``usual`` one."""
    if interval is None:
        return "–"
    text = number(interval.mean, digits)
    if interval.std is not None:
        decimals = len(text.partition(".")[2])
        text += f" ± {interval.std:.{decimals}f}"
    return text if interval.count == usual else f"{text} (n = {interval.count})"


def ratio_text(value: float) -> str:
    """Print a fraction with two decimals, or three where it is under a tenth."""
    return f"{value:.{2 if value >= 0.0995 else 3}f}"


def delta_text(delta: float) -> str:
    """Print ``1e-6``, without the zero that C puts in front of an exponent."""
    return f"{delta:g}".replace("e-0", "e-")


def duration(seconds: float) -> str:
    """Print ``41 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def count_text(number_of: int, word: str) -> str:
    """Print ``1 seed``, ``3 seeds``."""
    return f"{number_of:,} {word}{'' if number_of == 1 else 's'}"


def heading(title: str, protocol: Mapping[str, Any]) -> str:
    """Name a figure of the protocol's evaluator: ``FID (domain)``, or plain ``FID``."""
    evaluator = protocol.get("evaluator", "inception")
    return title if evaluator == "inception" else f"{title} ({evaluator})"


def evaluator_text(protocol: Mapping[str, Any]) -> str:
    """Name the evaluator network and the first digits of its weights' hash."""
    name = str(protocol.get("evaluator", "an unnamed network"))
    text = EVALUATORS.get(name, name)
    weights = protocol.get("weights_sha256")
    details = [f"weights {weights[:8]}"] if weights else []
    if "test_accuracy" in protocol:
        details.append(f"test accuracy {protocol['test_accuracy']:.1%}")
    return f"{text} [{', '.join(details)}]" if details else text


def protocol_text(protocol: Mapping[str, Any]) -> str:
    """Say in one sentence what makes the scores of a section comparable."""
    if "evaluator" not in protocol:
        return f"Protocol {protocol['name']}: nothing was scored."
    samples = protocol.get("samples")
    drawn = f"{samples:,} generated images" if samples else "generated images"
    reference = REFERENCES.get(protocol.get("reference", ""), "the reference images")
    sharp = str(protocol.get("quantisation", "")).startswith("sharpen")
    return (
        f"Protocol {protocol['name']}: {drawn}{', sharpened,' if sharp else ''} against "
        f"{reference}, features of {evaluator_text(protocol)}."
    )


def privacy_text(trials: Sequence[Result]) -> list[str]:
    """Say what epsilon means here, as far as it concerns these ``trials``."""
    deltas = " or ".join(map(delta_text, sorted({r.delta for r in trials if r.delta})))
    lines = [
        "(ε, δ)-differential privacy for one private image by zero-out adjacency: data sets are "
        "neighbours when one image of the one is replaced, in the other, by a null record that "
        "contributes nothing. The number of private images is public"
        + (f"; δ = {deltas}." if deltas else "."),
        "ε is per trial. The harness composes it from the ledger of every mechanism that touched "
        "private latents, by two accountants (Opacus and Google's dp-accounting), and takes the "
        "larger. Trust: ledger means that the harness applied each mechanism itself; "
        "self-declared, that the method saw raw latents and only its word stands for them"
        + (_REPLAYED if any(r.privacy and r.privacy.replay for r in trials) else "."),
        "Choosing leaks. “ε with selection” is that of publishing the trial as the one chosen. "
        "A best clip picked by exact private scores is outside any finite ε: ∞. It is finite only "
        "where a rule stated before any score was seen picked the trial, or noisy scores that are "
        "paid for.",
    ]
    if any(result.audit for result in trials):
        lines.append(
            "“ε audited” is a lower bound on ε found by attack, with 95% confidence. A trial "
            "whose bound is above its claimed ε is refuted and never ranked. A low bound proves "
            "nothing."
        )
    if any(r.privacy is not None and r.privacy.ledger.rng == "seeded" for r in trials):
        lines.append(
            "Noise and samples were drawn from seeded generators, so that the table can be made "
            "again: these runs are benchmarks, not releases. Use secure_rng for a release."
        )
    lines.append(
        "Scores, controls and pictures are computed from private images without noise: no ε "
        "covers this page. Where the data are truly private, do not publish it."
    )
    return lines


_REPLAYED = (
    "; replayed, that in addition a fit on a neighbouring data set, with the recorded releases "
    "played back, could not be told from the first; (not replayed), that this was tried and says "
    "nothing, for the reason under the table."
)

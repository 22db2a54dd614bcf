"""The privacy statement of one trial, in words that a data owner can check.

Its fields are those that registries of differential privacy deployments ask of the most
transparent entries (OpenDP and NIST): flavour, unit, adjacency, parameters, data domain,
what is not protected, composition, post-processing, implementation, rationale.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from dpbench import __version__
from dpbench.privacy.audit.result import AuditResult
from dpbench.privacy.ledger import Ledger, Mechanism, check_inclusions

if TYPE_CHECKING:
    from dpbench.privacy.accounting import Spent
    from dpbench.results import Result, Selection

__all__ = ["Statement", "in_short", "make_statement", "rounded_up"]

FLAVOUR = "approximate differential privacy, (epsilon, delta), in the central model"
UNIT = "one private image"
LABELLED_UNIT = f"{UNIT} with its label"
ADJACENCY = (
    "zero-out: data sets of equal size that differ by replacing one image by a null record, which "
    "contributes nothing; the number of images is public"
)
POST_PROCESSING = (
    "The guarantee covers the trained generator, any number of its samples, and whatever is "
    "computed from those without the private images. Scores against private images are not that."
)
_NOT_COVERED = (
    "The number of private records is public: it sets sampling rates.",
    "The public images, the evaluator and everything computed from public images alone are not "
    "protected, and must be disjoint from the private images.",
    "A person with several images in the data is protected image by image, not as a whole.",
    "Default hyperparameters were tuned on MNIST; tuning on the data being protected is not "
    "accounted for.",
    "The scores themselves (FID and the like) look at private images without noise: publishing "
    "them, or choosing by them, is outside epsilon.",
    "What an audit or a replay found was learnt from private latents without secret noise: the "
    "bound and the verdict are outside epsilon, too.",
    "Extraction maps each image by itself; the harness relies on extractors for that.",
    "Time, memory and messages of failed trainings are not hidden.",
)
_PICTURES = (
    "The pictures of reconstructions and of nearest neighbours show private images: "
    "they must not be published with a release."
)
_NO_PICTURES = "Pictures that show private images were not written (secure mode)."


class Statement(BaseModel):
    """What a trial guarantees and what it does not; :meth:`markdown` is for readers.

    Attributes:
        epsilon: the accounted one; infinite where there is no guarantee.
        epsilon_claimed: the target; ``None`` where the noise was given.
        epsilon_with_selection: of publishing this trial as the one chosen among
            its rivals; infinite where exact private scores chose.
        epsilon_audited: a lower bound at the audit's confidence; ``None`` without an audit.
        ledger: what ``dpbench/release/recompute_epsilon.py`` recomputes epsilon from.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    flavour: str = FLAVOUR
    unit: str = UNIT
    adjacency: str = ADJACENCY
    epsilon: float
    delta: float
    epsilon_claimed: float | None
    epsilon_with_selection: float | None
    epsilon_audited: float | None
    data_domain: str
    guarantee: list[str]
    composition: list[str]
    sampling: list[str]
    audit: str
    randomness: str
    selection: str
    post_processing: str = POST_PROCESSING
    implementation: str
    rationale: str
    unprotected: list[str]
    ledger: Ledger

    @property
    def epsilon_released(self) -> float:
        """Of publishing this trial as it was chosen: never less than :attr:`epsilon`."""
        chosen = self.epsilon_with_selection
        return self.epsilon if chosen is None else max(self.epsilon, chosen)

    def markdown(self) -> str:
        """Return the statement as a page."""
        sections = {
            "Guarantee": self.guarantee,
            "Terms": [
                f"- Flavour: {self.flavour}.",
                f"- Unit: {self.unit}.",
                f"- Adjacency: {self.adjacency}.",
                f"- Data domain: {self.data_domain}",
            ],
            "Four epsilons": list(self._epsilons()),
            "Composition": self.composition,
            "Mechanisms": list(_mechanisms(self.ledger)),
            "Sampling": self.sampling,
            "Audit": [self.audit],
            "Randomness": [self.randomness],
            "Selection": [self.selection],
            "Post-processing": [self.post_processing],
            "Implementation": [self.implementation],
            "Rationale": [self.rationale],
            "Not covered": [f"- {line}" for line in self.unprotected],
        }
        parts = [f"# {self.title}"]
        parts += [f"## {name}\n\n" + "\n".join(lines) for name, lines in sections.items()]
        return "\n\n".join(parts) + "\n"

    def _epsilons(self) -> Iterator[str]:
        yield "| claimed | accounted | with selection | audited, at least |"
        yield "|---|---|---|---|"
        figures = (
            (self.epsilon_claimed, _figure),
            (self.epsilon, _at_most),
            (self.epsilon_with_selection, _at_most),
            (self.epsilon_audited, _figure),
        )
        yield "| " + " | ".join("–" if f is None else write(f) for f, write in figures) + " |"


def in_short(statement: Statement) -> str:
    """Return what is guaranteed of a release in a few words; its epsilon is rounded up."""
    epsilon = statement.epsilon_released
    if math.isinf(epsilon):
        return "not differentially private at any finite epsilon"
    return f"({rounded_up(epsilon)}, {statement.delta:g})-differentially private"


def rounded_up(epsilon: float) -> str:
    """Return four digits of a positive figure, never less than it is."""
    if math.isinf(epsilon):
        return "∞"
    unit = 10.0 ** (math.floor(math.log10(epsilon)) - 3) if epsilon > 0 else 1.0
    return f"{math.ceil(epsilon / unit) * unit:.4g}"


def make_statement(result: Result, found: Selection) -> Statement | None:
    """State the privacy of ``result``, which was chosen as ``found`` says.

    ``None`` for a control, or a trial that was never trained: nothing private was used.
    """
    if result.privacy is None:
        return None
    spent, ledger = result.privacy.spent, result.privacy.ledger
    pictures = _NO_PICTURES if result.secure else _PICTURES
    noise = result.noise_multiplier is not None
    return Statement(
        unit=_unit(result),
        title=f"Privacy of {result.method} on {result.dataset}, clip {result.clip}, "
        f"seed {result.seed}",
        epsilon=spent.epsilon,
        delta=spent.delta,
        epsilon_claimed=None if noise else result.epsilon,
        epsilon_with_selection=found.epsilon,
        epsilon_audited=result.audit.epsilon_lower if result.audit else None,
        data_domain=f"private images of the data set {result.dataset}, as latents of the public "
        f"model {result.public} by the extractor {result.extractor}, one latent for each image.",
        guarantee=list(_guarantee(spent, result)),
        composition=list(_composition(spent, ledger)),
        sampling=list(_sampling(ledger)),
        audit=_audit(result.audit),
        randomness=_randomness(ledger),
        selection=_selection(found),
        implementation=f"dpbench {__version__} (this statement), generator {result.generator}; "
        "noise in floating point through torch; accountants: Opacus and Google dp-accounting.",
        rationale=_rationale(result),
        unprotected=[*_NOT_COVERED, pictures],
        # Without counts of inclusions: amplification takes it that samples are secret.
        ledger=ledger.model_copy(update={"inclusions": []}),
    )


def _guarantee(spent: Spent, result: Result) -> Iterator[str]:
    if math.isinf(spent.epsilon):
        yield "**None.** This trial used private images without noise (epsilon = infinity)."
        return
    if result.status == "over-budget":
        yield f"**Not as configured: {result.reason}.** The figures below are what was recorded."
        yield ""
    yield (
        f"The trained generator and any number of its samples are ({_at_most(spent.epsilon)}, "
        f"{spent.delta:g})-differentially private for {_unit(result)}, by the adjacency below."
    )


def _unit(result: Result) -> str:
    return UNIT if result.labels == "none" else LABELLED_UNIT


def _composition(spent: Spent, ledger: Ledger) -> Iterator[str]:
    yield "- Adaptive composition of the mechanisms below, by two independent accountants."
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
    if any(mechanism.classes > 1 for mechanism in ledger.mechanisms):
        yield ""
        yield (
            "What is parallel over classes is used once on each class of records. A record is in "
            "one class, so that all of them together cost what one does."
        )


def _row(mechanism: Mechanism) -> str:
    over = f", parallel over {mechanism.classes} classes" if mechanism.classes > 1 else ""
    return (
        f"| {mechanism.name} | {mechanism.count:,}{over} | {mechanism.sampling_rate:.4g} "
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


def _selection(found: Selection) -> str:
    among = f"among {found.among} trials of its method and target"
    paid = _figure(math.inf if found.epsilon is None else found.epsilon)
    return {
        "only": "The only trial of its method and target: nothing was chosen.",
        "scores": (
            f"Whoever chose it {among} by private scores has no finite epsilon: one image can turn "
            "that choice. Epsilon above is of this trial alone."
        ),
        "other": f"Not the one chosen {among}; epsilon is of this trial alone.",
        "stated": f"Chosen {among} by a rule stated before any score: no further cost.",
        "noisy": (
            f"Chosen {among} by a noisy count: epsilon = {paid} composes all of "
            "them and every count that was made."
        ),
        "uncounted": (
            f"Chosen by a noisy count, {among} of which some were in no count: no finite epsilon "
            "covers that choice. Epsilon above is of this trial alone."
        ),
    }[found.how]


def _rationale(result: Result) -> str:
    target = (
        f"noise multiplier {result.noise_multiplier:g}"
        if result.noise_multiplier is not None
        else f"epsilon {_figure(result.epsilon or math.inf)}"
    )
    grids = f" (grids: {', '.join(result.grids)})" if result.grids else ""
    return (
        f"The target, {target} at delta {result.delta:g}, was set in the configuration{grids} "
        "before training; delta lies below one over the number of images. Why this suffices for "
        "these images is for their owner to add."
    )


def _at_most(epsilon: float) -> str:
    """Return what is guaranteed, which no rounding may make smaller."""
    return "infinity" if math.isinf(epsilon) else rounded_up(epsilon)


def _figure(epsilon: float) -> str:
    return "infinity" if math.isinf(epsilon) else f"{epsilon:.4g}"

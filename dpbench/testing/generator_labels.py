"""What a private generator promises where records have private labels."""

from __future__ import annotations

from torch import Tensor

from dpbench.privacy.by_class import sample_of
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay import ReplayLane, replay
from dpbench.testing.checks import Figures, NotRun, checking, refusable, require
from dpbench.testing.generator_privacy import require_accounted
from dpbench.testing.generator_subject import DELTA, Fitted, GeneratorSubject, Trial, rng
from dpbench.testing.tensors import ROUNDING, require_latents, same

CLASSES = 3
"""Of which the last has no records: how many a class has is private."""


def _labels(subject: GeneratorSubject) -> Tensor:
    return (subject.private[:, 0] > 0).long()


def _labelled(subject: GeneratorSubject) -> Fitted:
    def fit() -> Fitted:
        with refusable():
            return subject.fit(Trial(), labels=_labels(subject), classes=CLASSES)[0]

    return subject.remember("labelled", fit)


def _of(fitted: Fitted, label: int) -> Tensor:
    return sample_of(fitted.generator, 20, rng(5), label)


@checking("generator")
def samples_follow_their_labels(subject: GeneratorSubject) -> None:
    """Fitted to records of three classes, one of them empty, it samples each within epsilon."""
    fitted = _labelled(subject)
    require_accounted(fitted, 1.0)
    found = [_of(fitted, label) for label in range(CLASSES)]
    for label, latents in enumerate(found):
        require_latents(latents, 20, subject.private.shape[1], f"a sample of class {label}")
    require(not same(found[0], found[1]), "two classes have the same samples")


@checking("generator")
def labelled_state_survives(subject: GeneratorSubject) -> None:
    """Fitted by class and restored, it samples the same of every class."""
    fitted = _labelled(subject)
    other = subject.fresh(subject.private.shape[1], CLASSES)
    other.restore(fitted.state())
    for label in range(CLASSES):
        again = sample_of(other, 20, rng(5), label)
        kept = same(_of(fitted, label), again, ROUNDING)
        require(kept, f"a restored instance samples something else of class {label}")


@checking("generator")
def replays_with_labels(subject: GeneratorSubject) -> Figures:
    """Labels leave a fit by its releases alone, and a record joins the sums of one class."""
    if _labelled(subject).session.ledger.trust == "self-declared":
        raise NotRun("it asks for the latents themselves and adds its own noise")
    found = replay(
        subject.cls,
        [ReplayLane(subject.params, Budget(1.0, DELTA), 1.0, 31)],
        subject.public,
        subject.private,
        labels=_labels(subject),
        classes=CLASSES,
        records=400,
    )
    require(found.verdict == "passed", found.reason)
    return {"releases": float(found.releases)}

"""What an evaluator promises: fixed features and logits, and to say which network it is."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from dpbench.api import Context, Evaluator, LabelledImages
from dpbench.errors import DpbenchError
from dpbench.runner.data import cache_directory
from dpbench.stages.evaluator import ATTRIBUTES
from dpbench.store import Artifact, Store
from dpbench.testing.checks import NotRun, checking, require
from dpbench.testing.images import PRIVATE_CLASSES, bars
from dpbench.testing.subject import Subject
from dpbench.testing.tensors import ROUNDING, first_difference, same

__all__ = ["EvaluatorSubject"]


class EvaluatorSubject(Subject):
    """An evaluator, trained on small images, or with the released weights that are cached."""

    base = Evaluator

    def __init__(self, cls: type[Evaluator], given: dict[str, object]) -> None:
        super().__init__(cls, given)
        self.labelling, self.test = bars(300, 71), bars(200, 72)

    @property
    def trained(self) -> bool:
        """Whether it learns, and has no released weights."""
        return bool(self.cls.fit is not Evaluator.fit)

    def ready(
        self, labelling: LabelledImages | None = None, context: Context | None = None
    ) -> Evaluator:
        """Return one that has learnt, or loaded its weights."""
        evaluator: Evaluator = self.cls(self.params)
        if self.trained:
            known = labelling or self.labelling
            evaluator.fit(known, self.test, PRIVATE_CLASSES, context or Context(11))
            return evaluator
        found = self.remember("weights", self._weights)
        if isinstance(found, str):
            raise NotRun(found)
        evaluator.load(found)
        return evaluator

    def _weights(self) -> Path | str:
        """Return where the released weights are, or why they cannot be had."""
        try:
            found = self.cls.weights(self.params, None, cache_directory())
        except DpbenchError as error:
            return f"its weights cannot be had: {error}"
        return found.path if found else "it has no released weights"

    @property
    def usual(self) -> Evaluator:
        """The evaluator that several checks look at."""
        return self.remember("usual", self.ready)

    def work(self, context: Context) -> dict[str, Tensor]:
        features, logits = seen(self.ready(context=context).to("cpu"), self.test.images[:20])
        return {"features": features, "logits": logits}

    def lent(self) -> dict[str, Tensor]:
        parts = {"labelling": self.labelling, "test": self.test}
        return {
            f"{what} of the {name} part": getattr(part, what)
            for name, part in parts.items()
            for what in ("images", "labels")
        }


@torch.inference_mode()
def seen(evaluator: Evaluator, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return features and logits of ``images``."""
    features, logits = evaluator(images.to(evaluator.device))
    return features.clone(), logits.clone()


@checking("evaluator")
def knows_itself_when_ready(subject: EvaluatorSubject) -> None:
    """Once it has learnt or loaded it has a weights' hash, sizes, a batch size, a network."""
    evaluator = subject.usual
    missing = [name for name in ATTRIBUTES if not hasattr(evaluator, name)]
    require(not missing, f"it lacks {', '.join(missing)}")
    digest = evaluator.weights_sha256
    whole = isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    require(whole, f"weights_sha256 is {digest!r}, not 64 hexadecimal digits")


@checking("evaluator")
def features_and_logits_are_vectors(subject: EvaluatorSubject) -> None:
    """Images give finite float32 features ``[B, D]`` and logits ``[B, K]``, one image too."""
    evaluator = subject.usual
    for count in (1, 7):
        found = seen(evaluator, subject.test.images[:count])
        sizes = (evaluator.feature_dim, evaluator.classes)
        for what, part, size in zip(("features", "logits"), found, sizes, strict=True):
            wanted = (count, size)
            require(tuple(part.shape) == wanted, f"{what} have shape {tuple(part.shape)}")
            require(part.dtype == torch.float32, f"{what} are {part.dtype}, not torch.float32")
            require(bool(torch.isfinite(part).all()), f"{what} hold NaN or infinity")


@checking("evaluator")
def sees_each_image_by_itself(subject: EvaluatorSubject) -> None:
    """An image's features do not depend on the images beside it."""
    images = subject.test.images[:9]
    together = seen(subject.usual, images)
    alone = [
        torch.cat(p) for p in zip(*(seen(subject.usual, x[None]) for x in images), strict=True)
    ]
    for what, first, second in zip(("features", "logits"), together, alone, strict=True):
        kept = same(first, second, ROUNDING)
        require(kept, f"{what} depend on the batch: put the network into evaluation mode")


@checking("evaluator")
def state_survives_the_store(subject: EvaluatorSubject) -> None:
    """A restored evaluator has the same hash, features and logits."""
    fitted = subject.usual
    if not subject.trained:
        raise NotRun("its weights are released")
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(Path(scratch))
        store.save("evaluator", "key", Artifact({}, fitted.state()))
        other: Evaluator = subject.cls(subject.params)
        other.restore(store.load("evaluator", "key").tensors)
        require(other.weights_sha256 == fitted.weights_sha256, "a restored one has another hash")
        before, after = (seen(e, subject.test.images[:9]) for e in (fitted, other))
    difference = first_difference(_named(before), _named(after), 1e-6)
    require(difference is None, f"a restored one gives other {difference}")


def _named(found: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    return dict(zip(("features", "logits"), found, strict=True))


@checking("evaluator")
def the_hash_follows_the_weights(subject: EvaluatorSubject) -> None:
    """Another training set gives another hash: scores under both never share a table."""
    usual = subject.usual
    if not subject.trained:
        raise NotRun("its weights are released")
    other = subject.ready(bars(300, 73))
    require(other.weights_sha256 != usual.weights_sha256, "two trainings have one hash")


@checking("evaluator")
def describes_itself_in_json(subject: EvaluatorSubject) -> None:
    """``describe`` gives JSON values, the same before and after it learns."""
    found = subject.usual.describe()
    require(isinstance(found, dict), f"describe gives {type(found).__name__}, not a dict")
    again = json.loads(json.dumps(found, allow_nan=False))
    require(again == found, "describe holds what JSON changes")


@checking("evaluator")
def learns_the_classes(subject: EvaluatorSubject) -> None:
    """Its labels are better than chance on test images whose class can be seen."""
    evaluator = subject.usual
    if not subject.trained:
        raise NotRun("its classes are those of its released weights")
    labels = subject.test.labels
    _, logits = seen(evaluator, subject.test.images)
    right = float((logits.argmax(1).cpu() == labels).float().mean())
    chance = float(labels.bincount().max()) / len(labels)
    require(right > chance + 0.1, f"it labels {right:.0%} right, and guessing {chance:.0%}")

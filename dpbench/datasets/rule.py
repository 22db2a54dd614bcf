"""The partition rule: which images are for labelling, public, private, test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, Strict, model_validator
from torch import Tensor

from dpbench.api import LabelledImages, Params, Partition
from dpbench.errors import DpbenchError

__all__ = ["BadPartition", "Indices", "PartitionRule", "partition"]

Share = Annotated[int, Strict(), Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]
ClassName = Annotated[int, Strict()] | str
Indices = dict[str, Tensor]

#: Fewest images a part may hold; below this no statistic of it exists.
SMALLEST_PART = 2


class BadPartition(DpbenchError):
    """A partition rule that does not fit the data; lists all that is wrong."""


class PartitionRule(Params):
    """How a data set is divided; every field can be set in ``benchmarks.toml``.

    The images are put in a random order (``torch.randperm`` seeded with
    ``seed``, the order ``torch.utils.data.random_split`` uses). The first
    ``labelling`` of them train the evaluator. The others are public or private,
    by their class or by chance. On MNIST the defaults are the paper's partition.

    Attributes:
        by: ``"class"`` divides by class, ``"random"`` by chance.
        labelling: a count, or a fraction of the training images.
        seed: seed of the random order.
        public_classes: labels, or names of class folders; by default the odd
            labels, or all that are not private.
        private_classes: by default all that are not public.
        public: with ``by = "random"``, the public fraction of what is left.
        test: a count, or a fraction of all images; used only where the data
            come without a test set of their own.
    """

    by: Literal["class", "random"] = "class"
    labelling: Share = 1 / 3
    seed: int = Field(default=42, ge=0, lt=2**63)
    public_classes: tuple[ClassName, ...] | None = None
    private_classes: tuple[ClassName, ...] | None = None
    public: float = Field(default=0.5, gt=0, lt=1)
    test: Share = 1 / 7

    @model_validator(mode="after")
    def _classes_only_by_class(self) -> Self:
        if self.by == "random" and (self.public_classes or self.private_classes):
            raise ValueError('by = "random" takes no public_classes or private_classes')
        return self

    def classes(
        self, present: Sequence[int], names: Sequence[str] = ()
    ) -> tuple[list[int], list[int]]:
        """Resolve the public and the private labels among those ``present``.

        Args:
            present: sorted labels of the data.
            names: name of label ``i`` at place ``i``, where classes have names.

        Raises:
            BadPartition: unknown, repeated or missing classes, all in one message.
        """
        wrong: list[str] = []
        known = dict(zip(names, range(len(names)), strict=True))

        def resolve(field: str, wanted: tuple[ClassName, ...]) -> list[int]:
            labels = [known.get(c, -1) if isinstance(c, str) else c for c in wanted]
            unknown = [c for c, label in zip(wanted, labels, strict=True) if label not in present]
            if unknown:
                shown = ", ".join(map(str, names or present))
                wrong.append(f"{field} names unknown classes {unknown} (the data has {shown})")
            return labels

        public = private = None
        if self.public_classes is not None:
            public = resolve("public_classes", self.public_classes)
        if self.private_classes is not None:
            private = resolve("private_classes", self.private_classes)
        if public is None:
            pool = present if private is not None else [c for c in present if c % 2]
            public = [c for c in pool if c not in (private or [])]
        if private is None:
            private = [c for c in present if c not in public]
        if both := sorted(set(public) & set(private)):
            wrong.append(f"classes {both} are both public and private")
        if not wrong and not public:
            wrong.append("no class is public: set public_classes")
        if not wrong and not private:
            wrong.append("no class is private: set private_classes")
        if wrong:
            raise BadPartition("bad partition rule: " + "; ".join(wrong))
        return public, private

    def indices(self, labels: Tensor, names: Sequence[str] = (), *, own_test: bool) -> Indices:
        """Return the places in ``labels`` of each part, as int64 tensors.

        Args:
            labels: int64 ``[N]``, labels of the training images.
            names: names of the classes, where they have any.
            own_test: the data has its own test images; no ``"test"`` is cut off.

        Raises:
            BadPartition: the rule does not fit these labels.
        """
        total = len(labels)
        test = 0 if own_test else _count(self.test, total)
        labelling = _count(self.labelling, total - test)
        if labelling + test >= total:
            raise BadPartition(
                f"bad partition rule: labelling ({labelling}) and test ({test}) leave nothing of "
                f"{total} images for public and private; lower them"
            )
        order = torch.randperm(total, generator=torch.Generator().manual_seed(self.seed))
        first, rest, last = (
            order[:labelling],
            order[labelling : total - test],
            order[total - test :],
        )
        if self.by == "random":
            half = _count(self.public, len(rest))
            public, private = rest[:half], rest[half:]
        else:
            chosen = self.classes(sorted(set(labels.tolist())), names)
            public, private = (rest[torch.isin(labels[rest], torch.tensor(c))] for c in chosen)
        parts = {"labelling": first, "public": public, "private": private}
        return parts if own_test else {**parts, "test": last}


def _count(share: int | float, total: int) -> int:
    return share if isinstance(share, int) else round(share * total)


def partition(
    train: LabelledImages,
    test: LabelledImages | None,
    rule: PartitionRule,
    names: Sequence[str] = (),
) -> Partition:
    """Divide ``train`` by ``rule``; without ``test``, cut the test images off it too.

    Raises:
        BadPartition: the rule does not fit, or a part holds too few images.
    """
    if len(train) == 0:
        raise BadPartition("the data set holds no images")
    places = rule.indices(train.labels, names, own_test=test is not None)
    parts = {name: _take(train, index) for name, index in places.items()}
    if test is not None:
        parts["test"] = test
    present = sorted(set(train.labels.tolist()))
    private = present if rule.by == "random" else rule.classes(present, names)[1]
    counts = {f"part {name!r}": len(part) for name, part in parts.items()}
    counts["part 'test' of the private classes"] = len(parts["test"].of_classes(private))
    few = [f"{part} holds {n}" for part, n in counts.items() if n < SMALLEST_PART]
    if few:
        raise BadPartition(
            f"too few images: {', '.join(few)}, at least {SMALLEST_PART} are needed; "
            "change the partition rule or add images"
        )
    return Partition(**parts, private_classes=tuple(private))


def _take(data: LabelledImages, index: Tensor) -> LabelledImages:
    return LabelledImages(data.images[index], data.labels[index])

"""What a metric promises: its columns, their range and direction, and reasons for gaps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dpbench.api import Column, Context, Evaluator, Metric, MetricUnavailable
from dpbench.metrics.views import References, View
from dpbench.testing.checks import NotRun, checking, require
from dpbench.testing.images import PRIVATE_CLASSES, bars, noise, small_partition
from dpbench.testing.stand_ins import Templates
from dpbench.testing.subject import Subject

__all__ = ["MetricSubject"]

COUNT = 200
SETS = ("noise", "blank", "copies", "public")
ORDER = 0.1
"""How far another order of images may move a figure, as a part of what bad images move it."""


class FewTemplates(Templates):
    """Sees other pictures, and other classes, than the one that labels."""

    name = "few-templates"
    side = 3


class MetricSubject(Subject):
    """A metric, and images good and bad under an evaluator that needs no training."""

    base = Metric

    def __init__(self, cls: type[Metric], given: dict[str, object]) -> None:
        super().__init__(cls, given)
        self.partition = small_partition()
        self.labeller = self._evaluator(Templates)
        self.fresh = self.view(bars(COUNT, 61, PRIVATE_CLASSES).images)
        self.references = self.new_references()

    def _evaluator(self, cls: type[Evaluator], classes: int = 4) -> Evaluator:
        evaluator = cls(cls.Params())
        known = self.partition.labelling.of_classes(range(classes))
        evaluator.fit(known, self.partition.test, PRIVATE_CLASSES, Context(0))
        return evaluator

    def view(self, images: Tensor, evaluator: Evaluator | None = None) -> View:
        """Return images as a metric gets generated ones."""
        return View(images, evaluator or self.labeller)

    def new_references(self, evaluator: Evaluator | None = None) -> References:
        """Return references that remember nothing."""
        held = self.partition.private_test
        other = self.partition.labelling.of_classes(PRIVATE_CLASSES)
        private = self.partition.private
        seen = evaluator or self.labeller
        return References(
            private_train=View(private.images, seen, labels=private.labels),
            private_test=View(held.images, seen, labels=held.labels),
            private_classes=PRIVATE_CLASSES,
            labeller=self.labeller,
            calibration=View(other.images, seen, labels=other.labels),
        )

    @property
    def columns(self) -> dict[str, Column]:
        """The metric's columns."""
        columns: dict[str, Column] = self.cls.columns
        return columns

    def compute(
        self, view: View, references: References | None = None, context: Context | None = None
    ) -> dict[str, float]:
        """Return the metric's figures for ``view``."""
        metric = self.cls(self.params)
        references = references or self.references
        found: dict[str, float] = metric.compute(view, references, context or Context(11))
        return found

    def figures(self, name: str) -> dict[str, float]:
        """Return the figures of ``fresh`` images, or of one of :data:`SETS`."""
        sets = {
            "noise": lambda: noise(COUNT, 62),
            "blank": lambda: torch.full_like(self.fresh.images, 128),
            "copies": lambda: self.partition.private.images[:COUNT].clone(),
            "public": lambda: self.partition.public.images[:COUNT].clone(),
        }
        view = self.fresh if name == "fresh" else self.view(sets[name]())
        return self.remember(f"figures {name}", lambda: self.compute(view))

    def work(self, context: Context) -> dict[str, Tensor]:
        found = self.compute(self.fresh, context=context)
        return {name: torch.tensor(float(value)) for name, value in found.items()}

    def lent(self) -> dict[str, Tensor]:
        views = {"fresh": self.fresh, "private": self.references.private_train,
                 "held-out": self.references.private_test}  # fmt: skip
        return {
            f"{part} of {name} images": getattr(view, part)
            for name, view in views.items()
            for part in ("images", "features", "logits")
        }


def _require_figures(subject: MetricSubject, found: dict[str, float]) -> None:
    wanted = list(subject.columns)
    require(sorted(found) == sorted(wanted), f"it returns {sorted(found)}, not {sorted(wanted)}")
    for name, value in found.items():
        require(isinstance(value, int | float), f"{name} is {type(value).__name__}, not a number")
        require(math.isfinite(value), f"{name} is {value}")


@checking("metric")
def returns_its_columns(subject: MetricSubject) -> None:
    """``compute`` gives one finite number for every column, and no other."""
    _require_figures(subject, subject.figures("fresh"))


@checking("metric")
def stays_in_its_range(subject: MetricSubject) -> None:
    """Figures of good, random, blank and copied images lie between ``low`` and ``high``."""
    for images in ("fresh", *SETS):
        try:
            found = subject.figures(images)
        except MetricUnavailable:
            continue
        for name, value in found.items():
            column = subject.columns[name]
            inside = column.low <= value <= column.high
            require(inside, f"{name} of {images} images is {value:.4g}: outside its range")


@checking("metric")
def tells_good_from_bad(subject: MetricSubject) -> None:
    """What moves a figure most, of noise, blank, public and copied images, makes it worse."""
    if not _directed(subject):
        raise NotRun("none of its columns says which way is better")
    for name in _directed(subject):
        good, images = subject.figures("fresh")[name], _farthest(subject, name)
        bad = subject.figures(images)[name]
        lower = subject.columns[name].better == "lower"
        require(bad != good, f"{name} is {good:.4g} for good and bad images alike")
        kept = bad > good if lower else bad < good
        require(kept, f"{name} prefers {images} images ({bad:.4g}) to good ones ({good:.4g})")


def _directed(subject: MetricSubject) -> list[str]:
    return [name for name, column in subject.columns.items() if column.better != "none"]


def _farthest(subject: MetricSubject, name: str) -> str:
    """Return which images move figure ``name`` most; those that have none do not count."""
    good, moved = subject.figures("fresh")[name], {"noise": 0.0}
    for images in SETS:
        try:
            moved[images] = abs(subject.figures(images)[name] - good)
        except MetricUnavailable:
            continue
    return max(moved, key=lambda images: moved[images])


@checking("metric")
def order_of_images_means_nothing(subject: MetricSubject) -> None:
    """Sorted by brightness of their upper half, the same images have the same figures."""
    images = subject.fresh.images
    upper = images[:, :, : images.shape[2] // 2].float().mean((1, 2, 3))
    found = subject.compute(subject.view(images[upper.argsort()]))
    for name in _directed(subject) or subject.columns:
        value = subject.figures("fresh")[name]
        reach = abs(subject.figures(_farthest(subject, name))[name] - value)
        kept = abs(found[name] - value) <= ORDER * reach + 1e-6
        require(kept, f"{name} is {value:.4g}, and {found[name]:.4g} in another order")


@checking("metric")
def few_images_give_a_reason(subject: MetricSubject) -> None:
    """Of 1, 2, 3 and 37 images it gives finite figures, or says in one line why not."""
    for count in (1, 2, 3, 37):
        _require_figures_or_reason(subject, subject.fresh.images[:count])


@checking("metric")
def images_that_are_all_alike(subject: MetricSubject) -> None:
    """Of black, white and grey images it gives finite figures, or says in one line why not."""
    for value in (0, 128, 255):
        _require_figures_or_reason(subject, torch.full_like(subject.fresh.images, value))


def _require_figures_or_reason(subject: MetricSubject, images: Tensor) -> None:
    try:
        found = subject.compute(subject.view(images))
    except MetricUnavailable as reason:
        lines = str(reason).strip().splitlines()
        require(len(lines) == 1, f"its reason has {len(lines)} lines, not one")
    else:
        _require_figures(subject, found)


@checking("metric")
def what_trials_share_is_the_same_for_all(subject: MetricSubject) -> None:
    """After another trial's images the figures are those with references that remember nothing."""
    shared = subject.new_references()
    subject.compute(subject.view(subject.partition.public.images), shared)
    after = subject.compute(subject.fresh, shared)
    alone = subject.compute(subject.fresh, subject.new_references())
    changed = [name for name, value in alone.items() if after.get(name) != value]
    require(not changed, f"{', '.join(changed)} depends on the trial that was scored before")


@checking("metric")
def any_evaluator_will_do(subject: MetricSubject) -> None:
    """It works under an evaluator with other features and classes than the labelling one."""
    other = subject._evaluator(FewTemplates, classes=3)
    found = subject.compute(
        subject.view(subject.fresh.images, other), subject.new_references(other)
    )
    _require_figures(subject, found)


@checking("metric")
def pictures_are_images(subject: MetricSubject) -> None:
    """``picture`` gives ``uint8`` ``[C, H, W]`` with 1 or 3 channels, or nothing."""
    found = subject.cls(subject.params).picture(subject.fresh, subject.references)
    if found is None:
        return
    right = found.dtype == torch.uint8 and found.ndim == 3 and found.shape[0] in (1, 3)
    require(right, f"it gives {found.dtype} of shape {tuple(found.shape)}")

"""What labelled samples are worth class by class."""

from __future__ import annotations

from typing import ClassVar

from dpbench.api import Column, Context, Metric, MetricUnavailable, Unlabelled
from dpbench.metrics.frechet import Statistics, frechet_distance
from dpbench.metrics.views import References, View

__all__ = ["ByClassMetric"]


class ByClassMetric(Metric):
    """Fréchet distance of each class to its own reference, and whether classes are told right.

    Both are of samples with labels: each is compared with real images of its own class,
    and the labelling classifier should call it what it was made as. Worst is the class
    that fares worst.
    """

    name = "by-class"
    cost = 0.5
    columns: ClassVar = {
        "fid_by_class": Column("lower", digits=1, title="FID by class"),
        "fid_worst_class": Column("lower", digits=1, title="FID, worst class"),
        "agreement": Column("higher", high=1.0, title="called as made"),
        "agreement_worst_class": Column("higher", high=1.0, title="called as made, worst class"),
    }

    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        labels, known = generated.labels, references.primary.labels
        if labels is None or known is None:
            raise Unlabelled
        classes = [label for label in references.private_classes if bool((known == label).any())]
        called = references.label(generated)
        distances = {label: _distance(generated, references, label) for label in classes}
        told = {k: (called[labels == k] == k).double().mean().item() for k in classes}
        return {
            "fid_by_class": sum(distances.values()) / len(distances),
            "fid_worst_class": max(distances.values()),
            "agreement": (called == labels).double().mean().item(),
            "agreement_worst_class": min(told.values()),
        }


def _distance(generated: View, references: References, label: int) -> float:
    """Return the Fréchet distance between samples and real images of one class."""
    key = f"by-class {references.primary_name} {label}"
    truth = references.remember(key, lambda: _statistics(references.primary, label))
    return frechet_distance(_statistics(generated, label), truth)


def _statistics(view: View, label: int) -> Statistics:
    assert view.labels is not None
    own = view.labels == label
    if int(own.sum()) < 2:
        raise MetricUnavailable(f"fewer than two images of class {label}: ask for more samples")
    return Statistics.of(view.features[own])

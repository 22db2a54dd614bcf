"""What every built-in metric promises, and what the figures say about known images."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from dpbench.api import Context, Metric, MetricUnavailable
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.metrics.plugin import register_metrics
from dpbench.metrics.views import References, View

METRICS: list[type[Metric]] = []
register_metrics(METRICS.append)
SHORT = {"epochs": 1, "batch": 64}
SMALL: dict[str, dict[str, Any]] = {
    "kid": {"subset_size": 50},
    "field-lite-accuracy": {"cnn": SHORT, "wrn": SHORT},
}
#: One takes too long here; tests/metrics/test_field.py has its rules.
QUICK = [metric for metric in METRICS if metric.name != "field-accuracy"]


def compute(name: str, images: Tensor, references: References) -> dict[str, float]:
    cls = next(metric for metric in METRICS if metric.name == name)
    metric = cls(cls.Params(**SMALL.get(name, {})))
    generated = View(images, references.private_train.evaluator)
    if name in ("by-class", "field-lite-accuracy"):  # of labelled samples
        generated.labels = references.label(generated)
    return metric.compute(generated, references, Context(0))


@pytest.mark.parametrize("cls", QUICK, ids=lambda cls: cls.name)
def test_returns_its_columns_in_their_range(
    cls: type[Metric], fresh_images: Tensor, references: References
) -> None:
    first = compute(cls.name, fresh_images, references)
    assert list(first) == list(cls.columns)
    for key, value in first.items():
        assert isinstance(value, float)
        assert cls.columns[key].low <= value <= cls.columns[key].high
    assert compute(cls.name, fresh_images, references) == first


@pytest.mark.parametrize("cls", QUICK, ids=lambda cls: cls.name)
def test_fails_with_a_reason_or_not_at_all(cls: type[Metric], references: References) -> None:
    for images in (torch.zeros(1, 1, 12, 12), torch.full((400, 1, 12, 12), 128)):
        try:
            values = compute(cls.name, images.to(torch.uint8), references)
        except MetricUnavailable as reason:
            assert str(reason)
            assert "\n" not in str(reason)
        else:
            assert all(math.isfinite(value) for value in values.values())


@pytest.mark.parametrize("name", ["fid", "is", "kid", "prdc"])
def test_features_that_are_not_finite_leave_a_reason(name: str, references: References) -> None:
    cls = next(metric for metric in METRICS if metric.name == name)
    broken = torch.full((400, 128), torch.nan)
    images = torch.zeros(400, 1, 12, 12, dtype=torch.uint8)
    view = View(images, features=broken, logits=broken[:, :4])
    with pytest.raises(MetricUnavailable, match="not finite"):
        cls(cls.Params(**SMALL.get(name, {}))).compute(view, references, Context(0))


def test_good_images_beat_public_ones(
    fresh_images: Tensor, references: References, partition: Any
) -> None:
    public = partition.public.images
    for name, figure, better in [
        ("fid", "fid", min),
        ("fid", "fid_test", min),
        ("kid", "kid", min),
        ("prdc", "density", max),
        ("prdc", "coverage", max),
        ("classes", "private_share", max),
        ("downstream", "accuracy_cnn", max),
    ]:
        good = compute(name, fresh_images, references)[figure]
        bad = compute(name, public, references)[figure]
        assert better(good, bad) == good != bad


def test_copies_of_private_images_show_in_held_out_fid_and_in_the_attack(
    references: References,
) -> None:
    copies = references.private_train.images
    fid = compute("fid", copies, references)
    assert fid["fid"] == pytest.approx(0, abs=1e-6)
    assert fid["fid_test"] > fid["fid"] + 0.1
    assert compute("leakage", copies, references)["mia_low"] > 0.2


def test_the_protocol_chooses_the_reference(fresh_images: Tensor, references: References) -> None:
    references.primary_name = "private-test"
    fid = compute("fid", fresh_images, references)
    assert fid["fid"] == fid["fid_test"]


def test_downstream_shows_real_images_beside_synthetic_ones(
    references: References,
) -> None:
    figures = compute("downstream", references.private_train.images, references)
    assert figures["accuracy_logistic"] == pytest.approx(
        figures["accuracy_logistic_real"], abs=0.05
    )


def test_class_figures_use_the_labelling_classifier_under_any_evaluator(
    fresh_images: Tensor, references: References, evaluator: DomainEvaluator
) -> None:
    cls = next(metric for metric in METRICS if metric.name == "classes")
    foreign = View(fresh_images, features=torch.zeros(400, 9), logits=torch.zeros(400, 9))
    got = cls(cls.Params()).compute(foreign, references, Context(0))
    assert got == compute("classes", fresh_images, references)

"""Figures class by class, and classifiers that learn from the samples' own labels."""

from __future__ import annotations

import pytest
import torch

from dpbench.api import Context, LabelledImages, MetricUnavailable, Partition
from dpbench.metrics.by_class import ByClassMetric
from dpbench.metrics.frechet import Statistics, frechet_distance
from dpbench.metrics.plugin import DownstreamMetric
from dpbench.metrics.views import References, View


def figures(images: LabelledImages, references: References) -> dict[str, float]:
    view = View(images.images, references.labeller, labels=images.labels)
    return ByClassMetric(ByClassMetric.Params()).compute(view, references, Context(0))


@pytest.fixture
def fresh(partition: Partition) -> LabelledImages:
    """As good as a generator can be: images of the private classes, with their labels."""
    return partition.private_test


def swapped(fresh: LabelledImages) -> LabelledImages:
    return LabelledImages(fresh.images, 2 - fresh.labels)


def test_each_class_is_measured_against_its_own(
    references: References, fresh: LabelledImages
) -> None:
    found = figures(fresh, references)
    made, real = View(fresh.images, references.labeller).features, references.primary
    assert real.labels is not None
    expected = [
        frechet_distance(
            Statistics.of(made[fresh.labels == k]), Statistics.of(real.features[real.labels == k])
        )
        for k in (0, 2)
    ]
    assert found["fid_by_class"] == pytest.approx(sum(expected) / 2)
    assert found["fid_worst_class"] == pytest.approx(max(expected))


def test_samples_under_each_others_labels_look_alike_as_a_whole_and_fail_by_class(
    references: References, fresh: LabelledImages
) -> None:
    right, wrong = figures(fresh, references), figures(swapped(fresh), references)
    assert right["agreement"] > 0.95 and right["agreement_worst_class"] > 0.9
    assert wrong["agreement"] < 0.05
    assert wrong["fid_by_class"] > 5 * right["fid_by_class"]


def test_one_bad_class_shows_in_the_worst(references: References, fresh: LabelledImages) -> None:
    noise = fresh.images.clone()
    bad = fresh.labels == 2
    rng = torch.Generator().manual_seed(0)
    shape = noise[bad].shape
    noise[bad] = torch.randint(0, 256, shape, generator=rng).to(torch.uint8)
    found = figures(LabelledImages(noise, fresh.labels), references)
    assert found["fid_worst_class"] > 1.5 * found["fid_by_class"]
    assert found["agreement_worst_class"] < found["agreement"]


def test_samples_without_labels_have_no_figures_by_class(
    references: References, fresh: LabelledImages
) -> None:
    view = View(fresh.images, references.labeller)
    with pytest.raises(MetricUnavailable, match="no labels"):
        ByClassMetric(ByClassMetric.Params()).compute(view, references, Context(0))


def test_a_class_of_one_sample_is_too_few(references: References, fresh: LabelledImages) -> None:
    few = LabelledImages(fresh.images[:5], torch.tensor([0, 0, 0, 0, 2]))
    with pytest.raises(MetricUnavailable, match="fewer than two images of class 2"):
        figures(few, references)


def test_a_classifier_learns_from_the_samples_own_labels(
    references: References, fresh: LabelledImages
) -> None:
    def accuracy(images: LabelledImages) -> dict[str, float]:
        view = View(images.images, references.labeller, labels=images.labels)
        return DownstreamMetric(DownstreamMetric.Params()).compute(view, references, Context(0))

    right, wrong = accuracy(fresh), accuracy(swapped(fresh))
    assert right["accuracy_cnn"] > 0.95 and right["accuracy_cnn_worst_class"] > 0.9
    assert wrong["accuracy_cnn"] < 0.05
    assert wrong["accuracy_cnn_real"] > 0.95

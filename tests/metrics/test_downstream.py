import pytest
import torch

from dpbench.api import Context, LabelledImages, MetricUnavailable, Partition
from dpbench.metrics.downstream import downstream_accuracy


def test_both_classifiers_learn_from_good_images(partition: Partition) -> None:
    got = downstream_accuracy(partition.labelling, partition.test, 4, Context(0))
    assert got.network > 0.95
    assert got.logistic > 0.95


def test_what_is_missing_from_training_is_missed_in_the_test(partition: Partition) -> None:
    train = partition.labelling.of_classes((0, 1))
    got = downstream_accuracy(train, partition.private_test, 4, Context(0))
    assert got.network < 0.75
    assert got.logistic < 0.75


def test_one_class_teaches_nothing(partition: Partition) -> None:
    train = LabelledImages(partition.private.images, torch.zeros(400, dtype=torch.int64))
    with pytest.raises(MetricUnavailable, match="nothing to learn"):
        downstream_accuracy(train, partition.test, 4, Context(0))

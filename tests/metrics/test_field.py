from __future__ import annotations

import pytest
import torch

from dpbench.api import Context, MetricUnavailable, Partition
from dpbench.metrics.field import (
    FieldLiteMetric,
    FieldMetric,
    Training,
    share_right,
    train_classifier,
)
from dpbench.metrics.residual import NETWORKS
from dpbench.metrics.views import References, View

FAST = Training(epochs=2, batch=32, learning_rate=3e-3, schedule="cosine", average=0)


def lite() -> FieldLiteMetric:
    longer = FAST.model_copy(update={"epochs": 5})
    return FieldLiteMetric(FieldLiteMetric.Params(cnn=FAST, wrn=longer))


def samples(partition: Partition, labels: torch.Tensor | None) -> View:
    private = partition.private
    features, logits = torch.zeros(len(private), 1), torch.zeros(len(private), 4)
    return View(private.images, features=features, logits=logits, labels=labels)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("resnet", 1_730_000), ("wrn", 8_950_000), ("resnext", 34_430_000), ("wrn-16-1", 175_000)],
)
def test_networks_have_their_published_size(name: str, parameters: int) -> None:
    """1.7 million (He et al., table 6), 8.9 (Zagoruyko, table 5), 34.4 (Xie, table 7)."""
    network = NETWORKS[name](3, 10)
    count = sum(p.numel() for p in network.parameters())
    assert count == pytest.approx(parameters, rel=0.005)


@pytest.mark.parametrize("name", ["resnet", "wrn"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_networks_give_logits_of_any_shape(name: str, shape: tuple[int, int, int]) -> None:
    network = NETWORKS[name](shape[0], 7).eval()
    assert network(torch.zeros(1, *shape)).shape == (1, 7)


def test_both_classifiers_learn_from_good_samples(
    partition: Partition, references: References
) -> None:
    figures = lite().compute(samples(partition, partition.private.labels), references, Context(0))
    assert set(figures) == set(FieldLiteMetric.columns)
    assert figures["field_lite_cnn"] > 0.95
    assert figures["field_lite_wrn"] > 0.9
    mean = (figures["field_lite_cnn"] + figures["field_lite_wrn"]) / 2
    assert figures["field_lite_accuracy"] == pytest.approx(mean)


def test_wrong_labels_teach_nothing(partition: Partition, references: References) -> None:
    wrong = 2 - partition.private.labels
    figures = lite().compute(samples(partition, wrong), references, Context(0))
    assert figures["field_lite_cnn"] < 0.1


def test_samples_without_labels_have_no_accuracy(
    partition: Partition, references: References
) -> None:
    with pytest.raises(MetricUnavailable, match='set labels = "private"'):
        lite().compute(samples(partition, None), references, Context(0))


def test_the_test_images_are_no_training_set(references: References) -> None:
    with pytest.raises(MetricUnavailable, match="test images themselves"):
        lite().compute(references.private_test, references, Context(0))


def test_the_epoch_is_chosen_by_held_out_synthetic_images(partition: Partition) -> None:
    """A rate that ruins the last epoch is seen on synthetic images, never on real ones."""
    rising = FAST.model_copy(update={"epochs": 3, "validation": 60})
    network = train_classifier("cnn", partition.labelling, 4, rising, Context(0))
    assert share_right(network, partition.test, Context(0)) > 0.95


def test_equal_seeds_give_equal_classifiers(partition: Partition) -> None:
    few = partition.labelling.of_classes((0, 1))
    first, again = (train_classifier("cnn", few, 4, FAST, Context(3)) for _ in range(2))
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_full_metric_has_the_rules_of_the_field() -> None:
    training = FieldMetric.Params().training
    assert (training.epochs, training.batch, training.learning_rate) == (50, 256, 0.01)
    assert (training.average, training.validation) == (0.9999, 5000)
    assert [round(training.rate(e, 50), 3) for e in (0, 19, 20, 40)] == [1, 1, 0.2, 0.04]
    assert list(FieldMetric.networks.values()) == ["resnet", "wrn", "resnext"]

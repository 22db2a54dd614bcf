from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dpbench.api import LabelledImages
from dpbench.datasets.rule import BadPartition, PartitionRule, partition

# Of each of the 60,000 MNIST training labels, in order: is it odd? (packed bits)
ODD = Path(__file__).with_name("mnist_odd.bin")


def data(labels: Any) -> LabelledImages:
    labels = torch.as_tensor(labels)
    return LabelledImages(torch.arange(len(labels)).to(torch.uint8).view(-1, 1, 1, 1), labels)


def test_mnist_partition_is_the_papers() -> None:
    labels = torch.from_numpy(np.unpackbits(np.frombuffer(ODD.read_bytes(), np.uint8))).long()
    parts = PartitionRule(labelling=20_000).indices(labels, own_test=True)
    assert {name: len(part) for name, part in parts.items()} == {
        "labelling": 20_000,
        "public": 20_388,
        "private": 19_612,
    }
    digests = {
        name: hashlib.sha256(part.numpy().astype("<i8").tobytes()).hexdigest()
        for name, part in parts.items()
    }
    assert digests == {
        "labelling": "1cb3c20dc4586832704600f9c46a320b80e9efe7366e157ca8112b65c8408594",
        "public": "00a768fe94ce04da57bc9a7ffb667949768ad8ee762092d20d49db1d678319da",
        "private": "5efc4b4f172733975a0c4d7fd095cafaaf4c63845ade1cf7550108a02d7c2569",
    }


def test_order_is_that_of_random_split() -> None:
    generator = torch.Generator().manual_seed(7)
    data: Any = range(100)
    expected = torch.utils.data.random_split(data, [30, 50, 20], generator)
    rule = PartitionRule(labelling=30, test=20, seed=7, by="random")
    parts = rule.indices(torch.zeros(100, dtype=torch.int64), own_test=False)
    assert parts["labelling"].tolist() == list(expected[0].indices)
    assert [*parts["public"].tolist(), *parts["private"].tolist()] == list(expected[1].indices)
    assert parts["test"].tolist() == list(expected[2].indices)


@pytest.mark.parametrize("own_test", [True, False])
@pytest.mark.parametrize("by", ["class", "random"])
def test_parts_are_disjoint_and_complete(by: Any, own_test: bool) -> None:
    labels = torch.arange(210) % 10
    parts = PartitionRule(by=by).indices(labels, own_test=own_test)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(210))
    assert ("test" in parts) is not own_test


def test_fractions_follow_mnist_by_default() -> None:
    parts = PartitionRule().indices(torch.arange(700) % 10, own_test=False)
    assert len(parts["test"]) == 100
    assert len(parts["labelling"]) == 200


def test_classes_by_name_and_number() -> None:
    rule = PartitionRule(public_classes=("pear", 2))
    assert rule.classes([0, 1, 2], ["apple", "pear", "plum"]) == ([1, 2], [0])
    assert PartitionRule(private_classes=(1,)).classes([0, 1, 2]) == ([0, 2], [1])


def test_classes_in_no_list_are_left_out() -> None:
    rule = PartitionRule(public_classes=(1,), private_classes=(2,), labelling=2, test=30)
    parts = partition(data(torch.arange(120) % 4), None, rule)
    assert set(parts.public.labels.tolist()) == {1}
    assert set(parts.private.labels.tolist()) == {2}
    assert parts.private_classes == (2,)
    assert set(parts.test.labels.tolist()) == {0, 1, 2, 3}


def test_all_class_errors_in_one_message() -> None:
    rule = PartitionRule(public_classes=("fig", 0), private_classes=(0, 9))
    with pytest.raises(BadPartition) as caught:
        rule.classes([0, 1], ["apple", "pear"])
    message = str(caught.value)
    assert "public_classes names unknown classes ['fig'] (the data has apple, pear)" in message
    assert "private_classes names unknown classes [9]" in message
    assert "classes [0] are both public and private" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"labelling": 200}, "leave nothing of 100 images"),
        ({"labelling": 80, "test": 40}, "leave nothing of 100 images"),
        ({"public_classes": (0, 1)}, "no class is private"),
        ({"labelling": 1}, "part 'labelling' holds 1, at least 2"),
        ({"test": 1}, "part 'test' holds 1"),
    ],
)
def test_rules_that_do_not_fit(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(BadPartition, match=message):
        partition(data(torch.arange(100) % 2), None, PartitionRule(**rule))


def test_test_set_without_private_classes() -> None:
    with pytest.raises(BadPartition, match="'test' of the private classes holds 0"):
        partition(data(torch.arange(100) % 2), data([1] * 10), PartitionRule())


def test_empty_test_set_is_not_replaced() -> None:
    with pytest.raises(BadPartition, match="part 'test' holds 0"):
        partition(data(torch.arange(100) % 2), data(torch.empty(0).long()), PartitionRule())


@pytest.mark.parametrize(
    "rule",
    [
        {"labelling": 0},
        {"labelling": 1.0},
        {"labelling": True},
        {"labelling": -0.5},
        {"by": "colour"},
        {"seed": -1},
        {"unknown": 1},
        {"by": "random", "public_classes": (1,)},
    ],
)
def test_invalid_rules(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PartitionRule(**rule)


def test_rule_from_toml_values() -> None:
    rule = PartitionRule.model_validate({"labelling": 0.25, "public_classes": ["cat", 3]})
    assert rule.labelling == 0.25
    assert rule.public_classes == ("cat", 3)


def test_rule_survives_a_stored_configuration() -> None:
    for values in ({}, {"labelling": 0.2, "public_classes": ["a", 1]}, {"by": "random"}):
        rule = PartitionRule.model_validate(values)
        assert PartitionRule.model_validate(rule.model_dump(mode="json")) == rule
        assert PartitionRule.model_validate_json(rule.model_dump_json()) == rule

"""Bugs planted in data sets and evaluators: which check catches which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dpbench.api import Dataset, Evaluator, LabelledImages
from dpbench.datasets.npz import Npz
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.testing import check
from dpbench.testing.images import bars, small_partition
from dpbench.testing.stand_ins import Templates

from .planted import Table, assert_caught, ids, own_checks


class Sound(Dataset):
    """The kit's own images."""

    name = "sound"

    def load(self, cache):
        return self.changed(small_partition())

    def changed(self, parts):
        return parts


def with_private(parts, images, labels):
    return replace(parts, private=LabelledImages(images, labels))


class FloatImages(Sound):
    def changed(self, parts):
        return with_private(parts, parts.private.images / 255, parts.private.labels)


class StrayClass(Sound):
    def changed(self, parts):
        return with_private(parts, parts.private.images, parts.private.labels + 1)


class PublicPrivateImages(Sound):
    """Private images lie in the public part as well."""

    def changed(self, parts):
        return replace(parts, public=parts.private)


class SortedByClass(Sound):
    def changed(self, parts):
        order = parts.private.labels.argsort()
        return with_private(parts, parts.private.images[order], parts.private.labels[order])


class OneImage(Sound):
    def changed(self, parts):
        images = parts.public.images[:1].expand_as(parts.public.images)
        return replace(parts, public=LabelledImages(images, parts.public.labels))


class FetchesToAsk(Sound):
    def is_cached(self, cache):
        if cache != Path() and not list(cache.glob("*")):
            (cache / "archive").touch()
        return True


class ShuffledAnew(Sound):
    def changed(self, parts):
        order = torch.randperm(len(parts.private))
        return with_private(parts, parts.private.images[order], parts.private.labels[order])


DATA: Table = [
    (FloatImages, "parts-are-labelled-images", "float32"),
    (StrayClass, "private-classes-are-those-of-private-images", "private images are of"),
    (PublicPrivateImages, "parts-share-no-images", "public part too"),
    (SortedByClass, "images-are-not-sorted-by-class", "has none of [2]"),
    (OneImage, "images-differ", "one image"),
    (FetchesToAsk, "knows-what-is-cached", "leaves archive"),
    (ShuffledAnew, "repeats-under-a-seed", "private part"),
]


class WithoutAHash(Templates):
    def restore(self, state):
        super().restore(state)
        self.weights_sha256 = "unknown"


class FlatFeatures(Templates):
    def __call__(self, images):
        features, logits = super().__call__(images)
        return features.squeeze(0), logits


class BatchNormalised(Templates):
    def __call__(self, images):
        features, logits = super().__call__(images)
        return features - features.mean(0), logits


class ForgetsItsMeans(Templates):
    def state(self):
        return {"means": torch.zeros_like(self.means)}


class OneHash(Templates):
    def restore(self, state):
        super().restore(state)
        self.weights_sha256 = "0" * 64


class DescribesTensors(Templates):
    def describe(self):
        return {"sizes": (4, 4)}


class ShuffledLabels(Templates):
    def fit(self, labelling, test, private_classes, context):
        moved = LabelledImages(labelling.images, (labelling.labels + 1) % 4)
        super().fit(moved, test, private_classes, context)


EVALUATORS: Table = [
    (WithoutAHash, "knows-itself-when-ready", "hexadecimal"),
    (FlatFeatures, "features-and-logits-are-vectors", "shape"),
    (BatchNormalised, "sees-each-image-by-itself", "depend on the batch"),
    (ForgetsItsMeans, "state-survives-the-store", "another hash"),
    (OneHash, "the-hash-follows-the-weights", "one hash"),
    (DescribesTensors, "describes-itself-in-json", "JSON"),
    (ShuffledLabels, "learns-the-classes", "right"),
]


@pytest.mark.parametrize(("bug", "name", "word"), DATA, ids=ids(DATA))
def test_a_bug_in_a_data_set_is_caught(bug: Any, name: str, word: str) -> None:
    assert_caught("dataset", bug, name, word)


@pytest.mark.parametrize(("bug", "name", "word"), EVALUATORS, ids=ids(EVALUATORS))
def test_a_bug_in_an_evaluator_is_caught(bug: Any, name: str, word: str) -> None:
    assert_caught("evaluator", bug, name, word)


def test_every_check_has_a_bug() -> None:
    assert own_checks("dataset") <= {name for _, name, _ in DATA}
    assert own_checks("evaluator") <= {name for _, name, _ in EVALUATORS}


def test_a_sound_data_set_raises_no_alarm(tmp_path: Path) -> None:
    data = bars(600, 81)
    path = tmp_path / "mine.npz"
    np.savez(path, images=data.images[:, 0].numpy(), labels=data.labels.numpy())
    for cls, params in ((Sound, {}), (Npz, {"path": str(path)})):
        report = check(cls, params=params)
        assert report.ok, str(report)


@pytest.mark.parametrize("cls", [Templates, DomainEvaluator])
def test_a_sound_evaluator_raises_no_alarm(cls: type[Evaluator]) -> None:
    report = check(cls)
    assert report.ok, str(report)

"""Bugs planted in a metric: which check catches which."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch

from dpbench.api import Column, Metric
from dpbench.metrics.plugin import register_metrics
from dpbench.testing import check

from .planted import Table, assert_caught, ids, own_checks

BUILT_IN: list[type[Metric]] = []
register_metrics(BUILT_IN.append)


class Sound(Metric):
    """Distance of the mean features to those of the private images."""

    name = "sound"
    columns: ClassVar = {"distance": Column("lower")}

    def compute(self, generated, references, context):
        return {"distance": self.distance(generated, references)}

    def distance(self, generated, references):
        target = references.remember(
            "sound.mean", lambda: references.primary.features.double().mean(0)
        )
        return float((generated.features.double().mean(0) - target).norm())


class OtherColumns(Sound):
    def compute(self, generated, references, context):
        return {"distances": self.distance(generated, references)}


class OutOfRange(Sound):
    def distance(self, generated, references):
        return -super().distance(generated, references)


class WrongWay(Sound):
    columns: ClassVar = {"distance": Column("higher")}


class SeesNothing(Sound):
    def distance(self, generated, references):
        return 1.0


class FirstHalf(Sound):
    """Looks at the first images only."""

    def distance(self, generated, references):
        half = generated.features[: len(generated) // 2].double().mean(0)
        return float((half - references.primary.features.double().mean(0)).norm())


class NeedsMany(Sound):
    """NaN where a covariance needs two images."""

    def distance(self, generated, references):
        spread = generated.features.double().std(0)
        return super().distance(generated, references) + 0 * float(spread.mean())


class NeedsSpread(Sound):
    """Correlations of images that are all alike."""

    def distance(self, generated, references):
        x = generated.features.double()
        x = (x - x.mean(0)) / x.std(0)
        return super().distance(generated, references) + 0 * float(x.mean())


class RemembersTheTrial(Sound):
    def distance(self, generated, references):
        mine = references.remember("sound.own", lambda: generated.features.double().mean(0))
        return float((mine - references.primary.features.double().mean(0)).norm())


class LogitsAsClasses(Sound):
    """Takes the evaluator's logits for those of the labelling classifier."""

    def distance(self, generated, references):
        places = torch.tensor(references.private_classes) + 1
        share = generated.logits.softmax(1)[:, places].sum(1).mean()
        return super().distance(generated, references) + 0 * float(share)


class FloatPicture(Sound):
    def picture(self, generated, references):
        return generated.images[0].float() / 255


class InvertsInPlace(Sound):
    def distance(self, generated, references):
        generated.images.neg_()
        return super().distance(generated, references)


class DrawsGlobally(Sound):
    def distance(self, generated, references):
        return super().distance(generated, references) + 0.01 * float(torch.rand(1))


TABLE: Table = [
    (OtherColumns, "returns-its-columns", "distances"),
    (OutOfRange, "stays-in-its-range", "outside its range"),
    (WrongWay, "tells-good-from-bad", "prefers"),
    (SeesNothing, "tells-good-from-bad", "alike"),
    (FirstHalf, "order-of-images-means-nothing", "another order"),
    (NeedsMany, "few-images-give-a-reason", "nan"),
    (NeedsSpread, "images-that-are-all-alike", "nan"),
    (RemembersTheTrial, "what-trials-share-is-the-same-for-all", "depends on the trial"),
    (LogitsAsClasses, "any-evaluator-will-do", "IndexError"),
    (FloatPicture, "pictures-are-images", "float32"),
    (InvertsInPlace, "leaves-what-it-is-lent", "images of fresh images"),
    (DrawsGlobally, "repeats-under-a-seed", "distance"),
]


@pytest.mark.filterwarnings("ignore:std\\(\\). degrees of freedom")  # the bug's own
@pytest.mark.parametrize(("bug", "name", "word"), TABLE, ids=ids(TABLE))
def test_a_planted_bug_is_caught(bug: Any, name: str, word: str) -> None:
    assert_caught("metric", bug, name, word)


def test_every_check_has_a_bug() -> None:
    assert own_checks("metric") <= {name for _, name, _ in TABLE}


@pytest.mark.parametrize("cls", [Sound, *BUILT_IN], ids=lambda cls: cls.name)
def test_sound_ones_raise_no_alarm(cls: type[Metric]) -> None:
    report = check(cls)
    assert report.ok, str(report)

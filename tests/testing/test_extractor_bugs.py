"""Bugs planted in an extractor: which check catches which."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dpbench.api import Extractor, to_float
from dpbench.extractors.encoder import EncoderExtractor
from dpbench.extractors.gradient import GradientExtractor, ProjectedGradientExtractor
from dpbench.testing import check

from .planted import Table, assert_caught, ids, own_checks


class Sound(Extractor):
    """Encodes."""

    name = label = "sound"
    requires = frozenset({"encode"})

    @torch.no_grad()
    def extract(self, model, images, context):
        return self.look(model, to_float(images.to(context.device))).cpu()

    def look(self, model, x):
        return model.encode(x)


class Squeezed(Sound):
    def look(self, model, x):
        return model.encode(x).squeeze()


class EightOnly(Sound):
    def look(self, model, x):
        return torch.nn.functional.pad(model.encode(x), (0, 8 - model.latent_dim))


class BatchStatistics(Sound):
    """Standardises the batch by itself."""

    def look(self, model, x):
        z = model.encode(x)
        return z - 0.1 * z.mean(0)


class Sorted(Sound):
    def look(self, model, x):
        z = model.encode(x)
        return z[z[:, 0].argsort()]


class WorstOfTheBatch(Sound):
    """Stops by the batch's largest error, so that one image decides for all."""

    def look(self, model, x):
        z = model.encode(x)
        return z * (1 + 0.1 * (x.mean((1, 2, 3)).max() > 0.5))


class Normalised(Sound):
    def look(self, model, x):
        flat = x.flatten(1)
        return model.encode((flat / flat.std(1, keepdim=True)).view_as(x))


class Constant(Sound):
    def look(self, model, x):
        return torch.zeros(len(x), model.latent_dim)


class FineTunes(Sound):
    """Puts private images into the public model."""

    def look(self, model, x):
        z = model.encode(x)
        model.centre += 0.1 * (x.flatten(1).mean(0) - model.centre)
        return z


class WakesTheModel(Sound):
    def look(self, model, x):
        return model.train().encode(x)


class AsksForMore(Sound):
    requires = frozenset({"decode"})


class DrawsGlobally(Sound):
    def look(self, model, x):
        z = model.encode(x)
        return z + 0.01 * torch.randn(z.shape)


class Inverts(Sound):
    def extract(self, model, images, context):
        images.mul_(255).add_(255)
        return super().extract(model, images, context)


class BlankOnce(Sound):
    """Changes what it is lent once and for all: a second look finds it as it was before that."""

    def extract(self, model, images, context):
        found = super().extract(model, images, context)
        images.zero_()
        return found


class WipesTheModel(Sound):
    def look(self, model, x):
        z = model.encode(x)
        model.centre.zero_()
        return z


class OfPixels(Sound):
    """Takes the pixels as they are."""

    requires = frozenset({"pixels"})

    def look(self, model, x):
        return x.flatten(1)


class PixelsOfOneSize(OfPixels):
    def look(self, model, x):
        return x.flatten(1).expand(-1, 256)


class PixelsEncoded(OfPixels):
    def look(self, model, x):
        return model.encode(x)


class PixelsCentred(OfPixels):
    def look(self, model, x):
        return (x - x.mean(0)).flatten(1)


class PixelsKept(OfPixels):
    """Leaves a private image in the public model."""

    def look(self, model, x):
        model.centre += x[0].flatten()
        return super().look(model, x)


class OfPixelsAndPrior(OfPixels):
    requires = frozenset({"pixels", "prior"})


TABLE: Table = [
    (Squeezed, "one-latent-per-image", "shape"),
    (EightOnly, "latents-of-any-size", "shape"),
    (BatchStatistics, "each-image-by-itself", "would move others"),
    (WorstOfTheBatch, "each-image-by-itself", "would move others"),
    (Sorted, "each-image-by-itself", "differ"),
    (Normalised, "images-without-contrast", "NaN"),
    (Constant, "different-images-have-different-latents", "same latent"),
    (FineTunes, "leaves-the-model-as-it-was", "centre"),
    (WakesTheModel, "leaves-the-model-as-it-was", "mode"),
    (AsksForMore, "requires-what-it-uses", "add it to `requires`"),
    (DrawsGlobally, "repeats-under-a-seed", "latents"),
    (PixelsOfOneSize, "latents-of-any-size", "shape"),
    (PixelsEncoded, "requires-what-it-uses", "add it to `requires`"),
    (PixelsCentred, "each-image-by-itself", "would move others"),
    (PixelsKept, "leaves-the-model-as-it-was", "centre"),
    (Inverts, "leaves-what-it-is-lent", "images"),
]
#: These show once: the whole kit has to find them, whatever ran before.
ONCE: Table = [
    (BlankOnce, "leaves-what-it-is-lent", "images"),
    (WipesTheModel, "leaves-the-model-as-it-was", "centre"),
]


@pytest.mark.parametrize(("bug", "name", "word"), TABLE, ids=ids(TABLE))
def test_a_planted_bug_is_caught(bug: Any, name: str, word: str) -> None:
    assert_caught("extractor", bug, name, word)


@pytest.mark.parametrize(("bug", "name", "word"), ONCE, ids=ids(ONCE))
def test_a_change_that_an_earlier_check_saw_is_found(bug: Any, name: str, word: str) -> None:
    (found,) = (result for result in check(bug).results if result.check == name)
    assert found.outcome == "failed" and word in found.reason


def test_every_check_has_a_bug() -> None:
    assert own_checks("extractor") <= {name for _, name, _ in TABLE}


@pytest.mark.parametrize(
    "cls", [Sound, OfPixels, EncoderExtractor, GradientExtractor, ProjectedGradientExtractor]
)
def test_sound_ones_raise_no_alarm(cls: type[Extractor]) -> None:
    report = check(cls)
    assert report.ok, str(report)


def test_what_the_kit_has_no_model_for_is_skipped_with_its_reason() -> None:
    report = check(OfPixelsAndPrior)
    reasons = {result.check: result.reason for result in report.skipped}
    assert report.ok, str(report)
    assert reasons["one-latent-per-image"].endswith("does not provide prior")

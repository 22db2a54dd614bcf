"""Bugs planted in a public model: which check catches which."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from dpbench.api import PublicModel, to_float
from dpbench.testing import check
from dpbench.testing.stand_ins import PrincipalComponents

from .planted import Table, assert_caught, ids, own_checks


class Unclamped(PrincipalComponents):
    def decode(self, z):
        return ((z * self.scale) @ self.axes + self.centre).view(-1, *self.image_shape)


class SquaresOnly(PrincipalComponents):
    def decode(self, z):
        side = self.image_shape[1]
        return super().decode(z).view(-1, self.image_shape[0], side, side)


class CentresByItself(PrincipalComponents):
    """Divides by the spread of the images that it is given."""

    def fit(self, images, context):
        if float(to_float(images).std()) == 0:
            raise ZeroDivisionError("no spread")
        super().fit(images, context)


class CannotEncode(PrincipalComponents):
    def encode(self, x):
        raise NotImplementedError


class EncodesInSecret(PrincipalComponents):
    provides = frozenset({"decode"})

    def encode(self, x):
        self.able = PrincipalComponents.provides
        return super().encode(x)


class BatchCentred(PrincipalComponents):
    def encode(self, x):
        z = super().encode(x)
        return z - z.mean(0)


class Detached(PrincipalComponents):
    def decode(self, z):
        return super().decode(z.detach())


class OneImage(PrincipalComponents):
    def decode(self, z):
        return super().decode(0 * z)


class KeepsAnAttribute(PrincipalComponents):
    """Learns something that ``state_dict`` does not hold."""

    shift = 0.0

    def fit(self, images, context):
        super().fit(images, context)
        self.shift = float(to_float(images).mean())

    def decode(self, z):
        return super().decode(z + self.shift)


class OtherStatistics(PrincipalComponents):
    def latent_statistics(self):
        return torch.zeros(self.latent_dim), -torch.eye(self.latent_dim)


class GuessesImages(PrincipalComponents):
    def guess(self, x):
        return x


class DrawsGlobally(PrincipalComponents):
    def fit(self, images, context):
        super().fit(images, context)
        with torch.no_grad():
            self.axes.add_(1e-3 * torch.randn(self.axes.shape))


class ScalesInPlace(PrincipalComponents):
    def fit(self, images, context):
        images //= 2
        super().fit(images, context)


class BatchNorm(PrincipalComponents):
    """A layer in training mode, whatever mode the model is in."""

    def __init__(self, params, image_shape):
        super().__init__(params, image_shape)
        self.norm = nn.BatchNorm1d(params.latent, affine=False)

    def decode(self, z):
        normed = nn.functional.batch_norm(z, None, None, training=True) if len(z) > 1 else z
        return super().decode(normed)


class Flattened(PublicModel):
    """Latents are pixels; it has no parameters, and the default statistics have none to ask."""

    name = "flattened"
    provides = frozenset({"decode", "pixels"})

    def __init__(self, params, image_shape):
        super().__init__(params, image_shape)
        self.latent_dim = math.prod(image_shape)

    def fit(self, images, context):
        pass

    def decode(self, z):
        return z.unflatten(1, self.image_shape).clamp(0, 1)


class FlattenedPrior(Flattened):
    """Says that its latents follow N(0, I), and cannot say so to an extractor."""

    provides = frozenset({"decode", "prior"})


class FlattenedNegative(Flattened):
    def latent_statistics(self):
        return torch.zeros(self.latent_dim), -torch.eye(self.latent_dim)


class FlattenedFit(Flattened):
    shift = 0.0

    def fit(self, images, context):
        self.shift = float(to_float(images).mean())

    def decode(self, z):
        return super().decode(z + self.shift)


TABLE: Table = [
    (Unclamped, "decodes-to-images", "not [0, 1]"),
    (SquaresOnly, "images-of-any-shape", "shape"),
    (CentresByItself, "few-or-equal-images", "no spread"),
    (CannotEncode, "provides-what-it-says", "NotImplementedError"),
    (EncodesInSecret, "provides-what-it-says", "not in `provides`"),
    (BatchCentred, "each-latent-and-image-by-itself", "encode depends"),
    (BatchNorm, "each-latent-and-image-by-itself", "decode depends"),
    (Detached, "decoding-has-a-gradient", "no gradient"),
    (OneImage, "different-latents-are-different-images", "same image"),
    (KeepsAnAttribute, "state-survives-the-store", "decode"),
    (OtherStatistics, "latent-statistics-are-those-of-a-gaussian", "not positive"),
    (FlattenedFit, "state-survives-the-store", "decode"),
    (FlattenedPrior, "latent-statistics-are-those-of-a-gaussian", "override latent_statistics"),
    (FlattenedNegative, "latent-statistics-are-those-of-a-gaussian", "not positive"),
    (GuessesImages, "guesses-are-latents", "shape"),
    (DrawsGlobally, "repeats-under-a-seed", "axes"),
    (ScalesInPlace, "leaves-what-it-is-lent", "images"),
]


@pytest.mark.parametrize(("bug", "name", "word"), TABLE, ids=ids(TABLE))
def test_a_planted_bug_is_caught(bug: Any, name: str, word: str) -> None:
    assert_caught("public", bug, name, word)


def test_every_check_has_a_bug() -> None:
    assert own_checks("public") <= {name for _, name, _ in TABLE}


@pytest.mark.parametrize("cls", [PrincipalComponents, Flattened])
def test_a_sound_model_raises_no_alarm(cls: type[PublicModel]) -> None:
    report = check(cls)
    assert report.ok, str(report)


def test_a_model_without_parameters_is_not_asked_for_statistics_of_them() -> None:
    reasons = {result.check: result.reason for result in check(Flattened).skipped}
    assert "no parameters" in reasons["latent-statistics-are-those-of-a-gaussian"]

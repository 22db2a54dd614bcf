"""The replay check where records have labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpbench.privacy.replay import ReplayVerdict, replay

from .honest import HONEST
from .small import PRIVATE, PUBLIC, Animal, clipped, lane, noisy_mean

CLASSES = 3
LABELS = torch.arange(len(PRIVATE)) % CLASSES


def replayed(generator: type[Animal], count: int = 2) -> ReplayVerdict:
    lanes = [lane(4.0, 0.5, seed=6), lane()][-count:]
    return replay(generator, lanes, PUBLIC, PRIVATE, labels=LABELS, classes=CLASSES)


class ByClass(Animal):
    """A mean for each class, from one release."""

    conditional = True

    def __init__(self, params=None, latent_dim=4, classes=1) -> None:
        super().__init__(params, latent_dim)
        self.classes = classes
        self.mean = torch.zeros(classes, latent_dim)

    def fit(self, private, public, context) -> None:
        noise, clip = private.noise_multiplier(), private.clip
        self.mean = private.release_sum(
            lambda z: z, clip=clip, noise_multiplier=noise, name="means", by_class=True
        )

    def sample(self, count, rng, labels=None) -> Tensor:
        noise = 0.3 * torch.randn(count, self.latent_dim, generator=rng)
        return self.mean[labels] + noise if self.classes > 1 else self.mean + noise


class ByView(ByClass):
    """The same, class after class."""

    def fit(self, private, public, context) -> None:
        self.mean = torch.stack([noisy_mean(view) for view in private.by_class()])


class KnowsClassCounts(ByClass):
    """Weighs classes by how many records each has."""

    def fit(self, private, public, context) -> None:
        super().fit(private, public, context)
        counts = (private._session.labels + 1).bincount(minlength=self.classes + 1)
        self.extra["weights"] = counts.float()


class LearnsClassesOutside(ByClass):
    """Releases the mean of all, and takes from the session what is of which class."""

    def fit(self, private, public, context) -> None:
        whole, session = noisy_mean(private), private._session
        rows = clipped(session.latents, private.clip)
        own = [rows[session.labels == k].mean(0) for k in range(self.classes)]
        self.mean = whole + 0.01 * torch.stack(own)


class RecordsInTwoClasses(ByClass):
    """Adds to each class's sum a little of the class before, for the price of one."""

    def fit(self, private, public, context) -> None:
        before = torch.zeros(private.dim)
        means = []
        for view in private.by_class():
            seen: list[Tensor] = []

            def contribution(z, before=before, seen=seen) -> Tensor:
                seen.append(z)
                return z + before

            noise = view.noise_multiplier()
            means.append(
                view.release_sum(contribution, clip=view.clip, noise_multiplier=noise, name="mean")
            )
            before = 1e-3 * max(seen, key=len).sum(0)
        self.mean = torch.stack(means)


@pytest.mark.parametrize("generator", [ByClass, ByView])
@pytest.mark.parametrize("count", [1, 2])
def test_an_honest_generator_that_knows_labels_passes(generator, count: int) -> None:
    verdict = replayed(generator, count)
    assert verdict.verdict == "passed", verdict.reason
    assert verdict.releases == count * (1 if generator is ByClass else CLASSES)


@pytest.mark.parametrize("generator", HONEST, ids=lambda c: c.__name__)
def test_an_honest_generator_that_is_trained_class_by_class_passes(generator) -> None:
    verdict = replayed(generator)
    assert verdict.verdict == "passed", verdict.reason


@pytest.mark.parametrize(
    ("generator", "reason"),
    [
        (KnowsClassCounts, "the state"),
        (LearnsClassesOutside, "the state"),
        (RecordsInTwoClasses, "more than one class"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_generator_that_takes_labels_outside_the_handle_is_caught(
    generator, reason: str, count: int
) -> None:
    verdict = replayed(generator, count)
    assert verdict.verdict == "failed", verdict.reason
    assert reason in verdict.reason

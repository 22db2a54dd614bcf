"""A tiny data set and evaluator: enough for every metric to have something to say."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dpbench.api import Context, LabelledImages, Partition
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.metrics.views import References, View

CLASSES = 4


def bars(count: int, seed: int, classes: tuple[int, ...] = (0, 1, 2, 3)) -> LabelledImages:
    """Noisy images ``[count, 1, 12, 12]`` with a bright bar whose place is the class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes)[torch.randint(len(classes), (count,), generator=rng)]
    images = torch.randint(0, 80, (count, 1, 12, 12), generator=rng)
    rows = torch.arange(12)
    inside = (rows >= 3 * labels[:, None]) & (rows < 3 * labels[:, None] + 3)
    images += 150 * inside[:, None, :, None]
    return LabelledImages(images.to(torch.uint8), labels)


@pytest.fixture(scope="session")
def partition() -> Partition:
    return Partition(
        labelling=bars(600, 1),
        public=bars(300, 2, (1, 3)),
        private=bars(400, 3, (0, 2)),
        test=bars(500, 4),
        private_classes=(0, 2),
    )


def trained_on(partition: Partition, seed: int, epochs: int = 60) -> DomainEvaluator:
    """Train the domain evaluator of ``partition``, for no longer than bars need."""
    evaluator = DomainEvaluator(DomainEvaluator.Params(epochs=epochs))
    parts = partition.labelling, partition.test, partition.private_classes
    evaluator.fit(*parts, Context(seed))
    return evaluator


@pytest.fixture(scope="session")
def learn() -> Callable[..., DomainEvaluator]:
    return trained_on


@pytest.fixture(scope="session")
def evaluator(partition: Partition) -> DomainEvaluator:
    return trained_on(partition, 7)


@pytest.fixture
def references(partition: Partition, evaluator: DomainEvaluator) -> References:
    held_out = partition.private_test
    calibration = partition.labelling.of_classes(partition.private_classes)
    return References(
        private_train=View(partition.private.images, evaluator, labels=partition.private.labels),
        private_test=View(held_out.images, evaluator, labels=held_out.labels),
        private_classes=partition.private_classes,
        labeller=evaluator,
        calibration=View(calibration.images, evaluator, labels=calibration.labels),
    )


@pytest.fixture
def fresh_images() -> Tensor:
    """As good as a generator can be: new images of the private classes."""
    return bars(400, 5, (0, 2)).images

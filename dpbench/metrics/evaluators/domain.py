"""The domain evaluator: a small classifier trained on the labelling partition."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dpbench.api import (
    Context,
    Evaluator,
    LabelledImages,
    Params,
    derive_seed,
    state_sha256,
    to_float,
)
from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators.base import evaluate

__all__ = ["DomainEvaluator", "DomainParams", "fit_classifier", "small_classifier"]

FEATURES = 128


def small_classifier(channels: int, classes: int) -> nn.Sequential:
    """Two convolutions and two linear layers; all but the last layer give 128 features.

    Pooling comes before the rectifier, which changes no value and saves time.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(7),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, FEATURES),
        nn.ReLU(),
        nn.Linear(FEATURES, classes),
    )


def channels_last(network: nn.Sequential) -> nn.Sequential:
    """Lay out weights so that convolutions run four times as fast on a CPU."""
    return network.to(memory_format=torch.channels_last)


def _to_input(images: Tensor) -> Tensor:
    return to_float(images).contiguous(memory_format=torch.channels_last)


#: With no ``epochs`` given: as many as this many updates take, within the bounds.
UPDATES = 1250
EPOCHS = (8, 300)


class DomainParams(Params):
    """How it is trained; see :func:`fit_classifier`.

    Attributes:
        epochs: by default 8, and more where there are fewer than 20,000 images.
        batch_size: images in an update.
        learning_rate: Adam's at the start; it falls to 0 along a cosine.
    """

    epochs: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)

    def epochs_for(self, images: int) -> int:
        """Return the number of passes over so many images."""
        if self.epochs is not None:
            return self.epochs
        least, most = EPOCHS
        return min(most, max(least, math.ceil(UPDATES / math.ceil(images / self.batch_size))))


class DomainEvaluator(Evaluator):
    """A trained :func:`small_classifier`; also the labelling classifier.

    Attributes:
        seed: seed of its training.
        test_accuracy: share of all test images it labels correctly, in ``[0, 1]``.
    """

    name = "domain"
    Params = DomainParams
    params: DomainParams
    feature_dim = FEATURES
    batch_size = 100

    def fit(
        self,
        labelling: LabelledImages,
        test: LabelledImages,
        private_classes: tuple[int, ...],
        context: Context,
    ) -> None:
        """Train a classifier of all classes; see how it does on ``test``.

        Raises:
            DpbenchError: there are no labelling images.
        """
        if not len(labelling):
            raise DpbenchError(
                "the labelling partition is empty, so no domain classifier can be trained: "
                "give the data set a labelling share"
            )
        labels = torch.cat([labelling.labels, test.labels])
        classes = max(int(labels.max()), *private_classes) + 1
        network = fit_classifier(
            labelling,
            classes,
            context,
            epochs=self.params.epochs_for(len(labelling)),
            batch_size=self.params.batch_size,
            learning_rate=self.params.learning_rate,
        )
        self.use(network, context.seed).to(context.device)
        _, logits = evaluate(self, test.images)
        self.test_accuracy = (logits.argmax(1) == test.labels).float().mean().item()

    def use(self, network: nn.Sequential, seed: int, test_accuracy: float = 0.0) -> Self:
        """Take a trained :func:`small_classifier`."""
        self.network = channels_last(network.cpu().eval().requires_grad_(False))
        self.seed = seed
        self.test_accuracy = test_accuracy
        last = network[-1]
        assert isinstance(last, nn.Linear)
        self.classes = last.out_features
        self.weights_sha256 = state_sha256(network.state_dict())
        self._trunk, self._head = network[:-1], last
        return self

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self._trunk(_to_input(images))
        return features, self._head(features)

    def describe(self) -> dict[str, Any]:
        return {
            "network": "domain classifier, conv 16-32, linear 128",
            "weights_sha256": self.weights_sha256,
            "feature_dim": self.feature_dim,
            "resize": "none",
            "batch_size": self.batch_size,
            "seed": self.seed,
            "test_accuracy": round(self.test_accuracy, 6),
        }

    def state(self) -> dict[str, Tensor]:
        state = {
            name: tensor.cpu().contiguous() for name, tensor in self.network.state_dict().items()
        }
        state["seed"] = torch.tensor(self.seed, dtype=torch.int64)
        state["test_accuracy"] = torch.tensor(self.test_accuracy, dtype=torch.float64)
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        weights = dict(state)
        seed, accuracy = int(weights.pop("seed")), float(weights.pop("test_accuracy"))
        channels = weights["0.weight"].shape[1]
        network = small_classifier(channels, len(weights["10.bias"]))
        network.load_state_dict(weights)
        self.use(network, seed, accuracy)


def fit_classifier(
    data: LabelledImages,
    classes: int,
    context: Context,
    *,
    epochs: int = 8,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
) -> nn.Sequential:
    """Train a fresh :func:`small_classifier` with Adam, its rate falling to 0 along a cosine.

    Args:
        data: images with labels in ``[0, classes)``.
        context: seed of the weights and the order of batches, device, progress.

    Returns:
        The classifier, in evaluation mode, on ``context.device``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(context.seed, "weights"))
        network = small_classifier(data.images.shape[1], classes)
    channels_last(network).to(context.device).train()
    images, labels = data.images.to(context.device), data.labels.to(context.device)
    order = context.generator("order")
    optimiser = torch.optim.Adam(network.parameters(), learning_rate)
    total = epochs * math.ceil(len(data) / batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
    step = 0
    for _ in range(epochs):
        shuffled = torch.randperm(len(data), generator=order).to(context.device)
        for batch in shuffled.split(batch_size):
            loss = F.cross_entropy(network(_to_input(images[batch])), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            step += 1
            context.progress(step, total)
    return network.eval()

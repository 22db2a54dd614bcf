"""Accuracy as the field measures it: classifiers trained on labelled synthetic images alone.

The rules are those of DPImageBench (Gong et al. 2025, arXiv 2503.14681, and its
repository's ``evaluation/evaluator.py``): see docs/field.md. Nothing is chosen by private
or test images.
"""

from __future__ import annotations

import copy
import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dpbench.api import (
    Column,
    Context,
    LabelledImages,
    Metric,
    MetricUnavailable,
    Params,
    Unlabelled,
    derive_seed,
    to_float,
)
from dpbench.metrics.evaluators.domain import small_classifier
from dpbench.metrics.residual import NETWORKS
from dpbench.metrics.views import References, View
from dpbench.precision import full_precision

__all__ = ["FieldLiteMetric", "FieldMetric", "Training", "train_classifier"]

EVALUATE_BATCH = 500


class Training(Params):
    """How a classifier is trained.

    Attributes:
        epochs: passes over the images.
        batch: images in an update.
        learning_rate: Adam's, before the schedule.
        schedule: ``steps`` multiplies the rate by 0.2 every 20 epochs, ``cosine`` takes
            it to 0 after a short rise.
        average: decay of the moving average of the weights, which is evaluated; 0 for none.
        validation: synthetic images held out, by which the epoch is chosen; 0 takes the last.
    """

    epochs: int = Field(default=50, ge=1)
    batch: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=0.01, gt=0)
    schedule: Literal["steps", "cosine"] = "steps"
    average: float = Field(default=0.9999, ge=0, lt=1)
    validation: int = Field(default=5000, ge=0)

    def rate(self, step: int, steps: int) -> float:
        """Return the share of ``learning_rate`` at a step."""
        if self.schedule == "steps":
            return float(0.2 ** (step * self.epochs // steps // 20))
        rise = max(1, steps // 10)
        return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train_classifier(
    name: str, data: LabelledImages, classes: int, training: Training, context: Context
) -> nn.Module:
    """Train the network ``name`` on synthetic ``data`` with labels in ``[0, classes)``.

    Returns:
        The network after the epoch that is best on held-out synthetic images, or the last.
    """
    held = min(training.validation, len(data) // 10)
    order = torch.randperm(len(data), generator=context.generator("validation"))
    kept = LabelledImages(data.images[order[:held]], data.labels[order[:held]])
    rows = order[held:]
    network = _fresh(name, data.images.shape[1], classes, context)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.Adam(network.parameters(), training.learning_rate)
    shuffle = context.generator("order")
    steps = training.epochs * math.ceil(len(rows) / training.batch)
    best, found, step = -1.0, copy.deepcopy(average.state_dict()), 0
    for _ in range(training.epochs):
        network.train()
        for batch in rows[torch.randperm(len(rows), generator=shuffle)].split(training.batch):
            optimiser.param_groups[0]["lr"] = training.learning_rate * training.rate(step, steps)
            logits = network(_input(data.images[batch], context))
            loss = F.cross_entropy(logits, data.labels[batch].to(context.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            _follow(average, network, min(training.average, (1 + step) / (10 + step)))
            step += 1
            context.progress(step, steps)
        accuracy = share_right(average, kept, context) if held else math.inf
        if accuracy >= best:
            best, found = accuracy, copy.deepcopy(average.state_dict())
    average.load_state_dict(found)
    return average.eval()


def share_right(network: nn.Module, data: LabelledImages, context: Context) -> float:
    """Return the share of ``data`` that a network labels correctly."""
    network.eval()
    right = 0
    with torch.inference_mode(), full_precision():
        for rows in torch.arange(len(data)).split(EVALUATE_BATCH):
            guesses = network(_input(data.images[rows], context)).argmax(1).cpu()
            right += int((guesses == data.labels[rows]).sum())
    return right / len(data)


def _fresh(name: str, channels: int, classes: int, context: Context) -> nn.Module:
    make = {**NETWORKS, "cnn": small_classifier}[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(context.seed, "weights", name))
        network = make(channels, classes)
    return network.to(context.device).to(memory_format=torch.channels_last)


def _input(images: Tensor, context: Context) -> Tensor:
    """Bring ``uint8`` images to [-1, 1] on the device."""
    scaled = to_float(images.to(context.device)) * 2 - 1
    return scaled.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the network's; running statistics are copied."""
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)
    for kept, running in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(running)


class _Classifiers(Metric):
    """Mean test accuracy of several classifiers, and that of each."""

    networks: ClassVar[dict[str, str]]
    mean: ClassVar[str]

    def training(self, network: str) -> Training:
        raise NotImplementedError

    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        train, test = _labelled(generated, references)
        found = {}
        for column, network in self.networks.items():
            inner = Context(self.params.seed, context.device)
            classes = len(references.private_classes)
            fitted = train_classifier(network, train, classes, self.training(network), inner)
            found[column] = share_right(fitted, test, inner)
        return {self.mean: sum(found.values()) / len(found), **found}


def _labelled(generated: View, references: References) -> tuple[LabelledImages, LabelledImages]:
    """Return synthetic and real test images, their labels as places among the private classes.

    Raises:
        MetricUnavailable: labels are missing, or the synthetic images are the test images.
    """
    held_out = references.private_test
    if generated.labels is None:
        raise Unlabelled
    if held_out.labels is None:
        raise MetricUnavailable("the held-out images have no labels")
    few = min(len(generated), len(held_out), 100)
    if torch.equal(generated.images[:few], held_out.images[:few]):
        raise MetricUnavailable("these are the test images themselves")
    classes = torch.tensor(sorted(references.private_classes))
    if not bool(torch.isin(generated.labels, classes).all()):
        raise MetricUnavailable("some samples are labelled as classes that are not private")
    return (
        LabelledImages(generated.images, torch.searchsorted(classes, generated.labels)),
        LabelledImages(held_out.images, torch.searchsorted(classes, held_out.labels)),
    )


class FieldParams(Params):
    """How the three networks are trained.

    Attributes:
        seed: of weights and order, the same for all.
        training: how each network is trained.
    """

    seed: int = 2020
    training: Training = Training()


class FieldMetric(_Classifiers):
    """ResNet-110, WRN-40-4 and ResNeXt-29, 50 epochs each: hours on a GPU, days on a CPU."""

    name = "field-accuracy"
    cost = 20_000.0
    Params = FieldParams
    params: FieldParams
    mean = "field_accuracy"
    networks: ClassVar = {
        "field_resnet": "resnet",
        "field_wrn": "wrn",
        "field_resnext": "resnext",
    }
    columns: ClassVar = {
        "field_accuracy": Column("higher", high=1.0, title="accuracy"),
        "field_resnet": Column("higher", high=1.0, title="ResNet"),
        "field_wrn": Column("higher", high=1.0, title="WideResNet"),
        "field_resnext": Column("higher", high=1.0, title="ResNeXt"),
    }

    def training(self, network: str) -> Training:
        return self.params.training


class FieldLiteParams(Params):
    """How the two networks are trained.

    Attributes:
        seed: of weights and order, the same for all.
        cnn: how the convolutional network is trained.
        wrn: how WRN-16-1 is trained.
    """

    seed: int = 2020
    cnn: Training = Training(
        epochs=6, batch=128, learning_rate=2e-3, schedule="cosine", average=0, validation=0
    )
    wrn: Training = Training(
        epochs=1, batch=128, learning_rate=5e-3, schedule="cosine", average=0, validation=0
    )


class FieldLiteMetric(_Classifiers):
    """A small convolutional network and WRN-16-1, for a few epochs: minutes on a CPU core."""

    name = "field-lite-accuracy"
    cost = 150.0
    Params = FieldLiteParams
    params: FieldLiteParams
    mean = "field_lite_accuracy"
    networks: ClassVar = {"field_lite_cnn": "cnn", "field_lite_wrn": "wrn-16-1"}
    columns: ClassVar = {
        "field_lite_accuracy": Column("higher", high=1.0, title="accuracy, lite"),
        "field_lite_cnn": Column("higher", high=1.0, title="small CNN"),
        "field_lite_wrn": Column("higher", high=1.0, title="WRN-16-1"),
    }

    def training(self, network: str) -> Training:
        return self.params.cnn if network == "cnn" else self.params.wrn

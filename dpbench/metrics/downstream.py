"""Usefulness: what a classifier learns from synthetic images (train on synthetic, test on real)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Context, LabelledImages, MetricUnavailable, to_float
from dpbench.metrics.evaluators.base import evaluate
from dpbench.metrics.evaluators.domain import DomainEvaluator, fit_classifier

__all__ = ["Accuracy", "downstream_accuracy", "logistic_accuracy", "network_accuracy"]


@dataclass(frozen=True)
class Accuracy:
    """Share of real test images labelled correctly, in ``[0, 1]``, by two classifiers."""

    network: float
    logistic: float


def downstream_accuracy(
    train: LabelledImages, test: LabelledImages, classes: int, context: Context
) -> Accuracy:
    """Train a fresh convolutional network and a logistic regression; test both.

    Args:
        train: images with the labelling classifier's labels, in ``[0, classes)``.
        test: real images with true labels, likewise.

    Raises:
        MetricUnavailable: all training images have one label.
    """
    if len(train.labels.unique()) < 2:
        raise MetricUnavailable("all images are of one class: there is nothing to learn")
    return Accuracy(
        network=network_accuracy(train, test, classes, context),
        logistic=logistic_accuracy(train, test, classes),
    )


def network_accuracy(
    train: LabelledImages, test: LabelledImages, classes: int, context: Context
) -> float:
    """Accuracy of the domain classifier's architecture, trained from scratch.

    Three epochs at three times the rate teach what eight do at the domain classifier's own.
    """
    network = fit_classifier(train, classes, context, epochs=3, learning_rate=3e-3)
    fresh = DomainEvaluator(DomainEvaluator.Params()).use(network, context.seed).to(context.device)
    _, logits = evaluate(fresh, test.images)
    return _accuracy(logits, test.labels)


def logistic_accuracy(
    train: LabelledImages, test: LabelledImages, classes: int, penalty: float = 1e-3
) -> float:
    """Accuracy of a logistic regression on pixels, fitted by L-BFGS with an L2 ``penalty``."""
    pixels = to_float(train.images).flatten(1)
    weight = torch.zeros(classes, pixels.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        fit = F.cross_entropy(F.linear(pixels, weight, bias), train.labels)
        value = fit + penalty * weight.square().sum() / 2
        value.backward()
        return value

    optimiser.step(loss)
    with torch.no_grad():
        logits = F.linear(to_float(test.images).flatten(1), weight, bias)
    return _accuracy(logits, test.labels)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return (logits.argmax(1) == labels).double().mean().item()

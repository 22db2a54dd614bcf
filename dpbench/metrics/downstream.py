"""Usefulness: what a classifier learns from synthetic images (train on synthetic, test on real)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dpbench.api import Context, LabelledImages, MetricUnavailable, to_float
from dpbench.metrics.evaluators.base import evaluate
from dpbench.metrics.evaluators.domain import DomainEvaluator, fit_classifier

__all__ = ["Accuracy", "downstream_accuracy", "logistic_accuracy", "network_hits"]


@dataclass(frozen=True)
class Accuracy:
    """Share of real test images labelled correctly, in ``[0, 1]``, by two classifiers.

    ``worst_class`` is the network's, on the class of which it gets the fewest.
    """

    network: float
    logistic: float
    worst_class: float


def downstream_accuracy(
    train: LabelledImages, test: LabelledImages, classes: int, context: Context
) -> Accuracy:
    """Train a fresh convolutional network and a logistic regression; test both.

    Args:
        train: images with their own or the labelling classifier's labels, in ``[0, classes)``.
        test: real images with true labels, likewise.

    Raises:
        MetricUnavailable: all training images have one label.
    """
    if len(train.labels.unique()) < 2:
        raise MetricUnavailable("all images are of one class: there is nothing to learn")
    right = network_hits(train, test, classes, context)
    by_class = [float(right[test.labels == label].mean()) for label in test.labels.unique()]
    return Accuracy(
        network=float(right.mean()),
        logistic=logistic_accuracy(train, test, classes),
        worst_class=min(by_class),
    )


def network_hits(
    train: LabelledImages, test: LabelledImages, classes: int, context: Context
) -> Tensor:
    """Train the domain classifier's architecture from scratch; say which images it gets right.

    Returns float64 ``[N]``, 1 for every test image labelled correctly, else 0.
    Three epochs at three times the rate teach what eight do at the domain classifier's own.
    """
    network = fit_classifier(train, classes, context, epochs=3, learning_rate=3e-3)
    fresh = DomainEvaluator(DomainEvaluator.Params()).use(network, context.seed).to(context.device)
    _, logits = evaluate(fresh, test.images)
    return (logits.argmax(1) == test.labels).double()


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
    return (logits.argmax(1) == test.labels).double().mean().item()

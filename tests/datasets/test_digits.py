"""Real images that are small and few: scikit-learn's digits, enlarged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dpbench.api import Context, Partition
from dpbench.datasets.npz import Npz
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.public.ae import Autoencoder
from dpbench.stages.judge import judge_evaluator, judge_public_model, unexplained


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Partition:
    """1,797 digits of 8 x 8, each pixel made four."""
    folder = tmp_path_factory.mktemp("digits")
    data = load_digits()
    large = np.kron(data.images, np.ones((2, 2)))
    images = (large / 16 * 255).astype(np.uint8)
    np.savez(folder / "digits.npz", images=images, labels=data.target)
    return Npz(Npz.Params(path=folder / "digits.npz")).load(folder)


def test_the_evaluator_learns_them_without_settings(digits: Partition) -> None:
    evaluator = DomainEvaluator(DomainEvaluator.Params())
    evaluator.fit(digits.labelling, digits.test, digits.private_classes, Context(0))
    assert evaluator.test_accuracy > 0.93
    assert judge_evaluator(evaluator.test_accuracy, digits.test.labels) == ""


@pytest.mark.slow
def test_the_autoencoder_learns_them_without_settings(digits: Partition) -> None:
    """They make eight updates an epoch, so the number of epochs has to follow them."""
    model = Autoencoder(Autoencoder.Params(), digits.image_shape)
    model.fit(digits.public.images, Context(0))
    share = unexplained(model.eval(), digits.public.images, torch.device("cpu"))
    assert share is not None
    assert share < 0.35
    assert judge_public_model(share) == ""

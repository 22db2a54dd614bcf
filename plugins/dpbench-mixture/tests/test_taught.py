"""Gaussians whose draws a classifier by DP-SGD sorts out."""

from __future__ import annotations

import math
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch
from dpbench_mixture.classifier import Classifier, Lessons, _traces, learn
from dpbench_mixture.taught import TaughtGaussian, TaughtParams, draw_taught, register_generators
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.mixture import Mixture
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lane_nets import LaneBuffer
from dpbench.privacy.lanes import clipped_sum
from dpbench.privacy.session import PrivateSession
from dpbench.testing import GeneratorKit

DIM, CLASSES = 6, 3


class TestTaught(GeneratorKit):
    plugin = TaughtGaussian


def rings(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Classes that no Gaussian tells apart: by the distance of their first two coordinates."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    latents = 0.3 * torch.randn(count, DIM, generator=rng)
    angle = 2 * math.pi * torch.rand(count, generator=rng)
    turns = torch.stack([angle.cos(), angle.sin()], 1)
    latents[:, :2] += 1.4 * labels.unsqueeze(1) * turns
    return latents, labels


LATENTS, LABELS = rings(6000, 0)


def handle(epsilon: float, seed: int = 0) -> PrivateLatents:
    return PrivateSession(
        LATENTS,
        Budget(epsilon, 1e-6),
        1.0,
        Context(seed),
        noise_seed=seed + 9,
        labels=LABELS,
        classes=CLASSES,
    ).handle


def fitted(epsilon: float, **params: float) -> tuple[TaughtGaussian, PrivateLatents]:
    private = handle(epsilon)
    generator = TaughtGaussian(TaughtParams.model_validate(params), DIM, CLASSES)
    generator.fit(private, torch.randn(500, DIM), private.context)
    return generator, private


def right(classifier: Classifier) -> float:
    latents, labels = rings(3000, 5)
    return float((classifier(latents).argmax(1) == labels).float().mean())


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_classifier_and_gaussians_together_spend_the_budget(epsilon: float) -> None:
    _, private = fitted(epsilon)
    assert private.ledger.trust == "ledger"
    assert 0.98 * epsilon <= private.spent.epsilon <= epsilon
    steps = private.ledger.mechanisms[0]
    assert steps.name == "taught:classifier" and steps.sensitivity == private.clip


def test_the_classifier_learns_what_gaussians_cannot_say() -> None:
    private = handle(10.0)
    classifier = learn(private, Lessons(32, 200, 1500, 0.04), 0.75, "it")
    assert right(classifier) > 0.85
    linear = learn(handle(10.0), Lessons(0, 200, 1500, 0.04), 0.75, "it")
    assert right(linear) < 0.6


def test_draws_are_what_the_classifier_takes_for_their_class() -> None:
    generator, _ = fitted(1.0)
    labels = torch.arange(600) % CLASSES
    drawn = generator.sample(600, torch.Generator().manual_seed(1), labels)
    assert (generator.classifier(drawn).argmax(1) == labels).float().mean() > 0.95
    loose = generator.mixture.sample(600, torch.Generator().manual_seed(1), labels)
    assert (generator.classifier(loose).argmax(1) == labels).float().mean() < 0.9


def test_a_class_that_the_classifier_never_finds_is_drawn_all_the_same() -> None:
    mixture = Mixture.of_classes([Mixture.standard(DIM)] * CLASSES)
    biased = Classifier.of_sizes(DIM, 0, CLASSES)
    biased.flat[0, -CLASSES:] = torch.tensor([9.0, 0.0, 0.0])
    labels = torch.ones(50, dtype=torch.int64)
    assert draw_taught(mixture, biased, labels, torch.Generator()).shape == (50, DIM)


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_a_stored_one_draws_the_same(epsilon: float) -> None:
    generator, _ = fitted(epsilon)
    again = TaughtGaussian(TaughtParams(), DIM, CLASSES)
    again.restore(generator.state())
    labels = torch.arange(90) % CLASSES
    both = [g.sample(90, torch.Generator().manual_seed(2), labels) for g in (generator, again)]
    assert torch.equal(*both) and torch.isfinite(both[0]).all()


def test_one_record_moves_a_gradient_by_no_more_than_the_clip() -> None:
    """Cross-entropy's gradient by autograd is what the traces say it is."""
    net = Classifier.of_sizes(DIM, 4, CLASSES)
    net.flat.normal_(generator=torch.Generator().manual_seed(3))
    flat = net.flat.clone().requires_grad_()
    wanted = torch.nn.functional.cross_entropy(Classifier(net.mlp, flat)(LATENTS[:1]), LABELS[:1])
    wanted.backward()
    record = torch.cat([LATENTS[:1], torch.eye(CLASSES)[LABELS[:1]]], 1)[None]
    params = LaneBuffer(net.mlp.layers, net.flat)
    for clip in (1e6, 0.1):
        total = params.like()
        clipped_sum(
            _traces(net.mlp, params, DIM, record), torch.tensor([[clip]]), torch.ones(1, 1), total
        )
        grad = flat.grad
        assert grad is not None
        scaled = grad * min(1.0, clip / float(grad.norm()))
        torch.testing.assert_close(total.flat, scaled, atol=1e-5, rtol=1e-4)


def test_without_labels_it_is_a_gaussian() -> None:
    context = Context(0)
    session = PrivateSession(LATENTS, Budget(1.0, 1e-6), 1.0, context, noise_seed=1)
    generator = TaughtGaussian(TaughtParams(), DIM)
    generator.fit(session.handle, torch.randn(500, DIM), context)
    assert len(session.handle.ledger.mechanisms) == 1
    assert generator.sample(5, torch.Generator()).shape == (5, DIM)


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["taught"]
    assert metadata.EntryPoint("taught", entry, "dpbench").load().register_generators
    found: list[type] = []
    register_generators(found.append)
    assert found == [TaughtGaussian]

import dataclasses
from collections.abc import Callable

import pytest
import torch

from dpbench.api import LabelledImages, Partition, state_sha256
from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators import evaluate
from dpbench.metrics.evaluators.domain import DomainEvaluator

Learn = Callable[..., DomainEvaluator]


def test_learns_its_domain_and_records_how_well(
    partition: Partition, evaluator: DomainEvaluator
) -> None:
    features, logits = evaluate(evaluator, partition.test.images)
    assert features.shape == (500, 128)
    assert logits.shape == (500, 4)
    accuracy = (logits.argmax(1) == partition.test.labels).float().mean().item()
    assert accuracy > 0.95
    assert evaluator.describe()["test_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert evaluator.describe()["seed"] == 7


def test_equal_seeds_give_equal_weights(partition: Partition, learn: Learn) -> None:
    one, again, other = (learn(partition, seed, epochs=2).weights_sha256 for seed in (7, 7, 8))
    assert one == again
    assert other != one


def test_training_leaves_the_global_generator_alone(partition: Partition, learn: Learn) -> None:
    before = torch.get_rng_state()
    learn(partition, 1, epochs=1)
    assert torch.equal(before, torch.get_rng_state())


def test_restores_from_its_tensors(partition: Partition, evaluator: DomainEvaluator) -> None:
    state = evaluator.state()
    assert all(tensor.is_contiguous() for tensor in state.values())
    restored = DomainEvaluator(DomainEvaluator.Params())
    restored.restore(state)
    assert restored.describe() == evaluator.describe()
    for ours, theirs in zip(
        evaluate(restored, partition.test.images),
        evaluate(evaluator, partition.test.images),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_colour_images_of_another_size(partition: Partition, learn: Learn) -> None:
    def coloured(part: LabelledImages) -> LabelledImages:
        images = part.images.repeat_interleave(3, 2).repeat_interleave(3, 3).expand(-1, 3, -1, -1)
        return LabelledImages(images[:200], part.labels[:200])

    names = ("labelling", "public", "private", "test")
    parts = {name: coloured(getattr(partition, name)) for name in names}
    evaluator = learn(Partition(**parts, private_classes=(0, 2)), 0, epochs=1)
    assert evaluate(evaluator, parts["test"].images)[0].shape == (200, 128)


def test_nothing_to_learn_from_is_named(partition: Partition, learn: Learn) -> None:
    nothing = LabelledImages(partition.labelling.images[:0], partition.labelling.labels[:0])
    with pytest.raises(DpbenchError, match="labelling partition is empty"):
        learn(dataclasses.replace(partition, labelling=nothing), 0)


def test_hash_sees_names_values_and_types_but_not_order_or_layout() -> None:
    a, b = torch.arange(6.0).view(2, 3), torch.ones(2)
    known = state_sha256({"a": a, "b": b})
    assert state_sha256({"b": b, "a": a.T.contiguous().T}) == known
    assert state_sha256({"a": a, "c": b}) != known
    assert state_sha256({"a": a + 1e-6, "b": b}) != known
    assert state_sha256({"a": a.double(), "b": b}) != known

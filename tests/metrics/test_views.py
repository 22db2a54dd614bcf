import pytest
import torch
from torch import Tensor, nn

from dpbench.api import Evaluator, LabelledImages, Partition, to_uint8
from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators.base import evaluate
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.metrics.frechet import Statistics, frechet_distance
from dpbench.metrics.views import References, View, kept_rows


class Counting(Evaluator):
    """Averages pixels, and counts how many images it was shown."""

    name = "counting"
    weights_sha256 = "0" * 64
    feature_dim = classes = 1
    batch_size = 4
    network = nn.Identity()

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(len(images))
        mean = images.float().mean((1, 2, 3))[:, None]
        return mean, -mean

    def describe(self) -> dict[str, object]:
        return {}


IMAGES = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 4, 4)


def test_features_logits_and_statistics_cost_one_streamed_pass() -> None:
    evaluator = Counting()
    view = View(IMAGES, evaluator)
    assert evaluator.batches == []
    assert view.features.flatten().tolist() == list(range(10))
    assert view.logits.flatten().tolist() == [-float(i) for i in range(10)]
    assert view.statistics.mean.item() == 4.5
    assert view.under(Counting()) is view
    assert evaluator.batches == [4, 4, 2]


def test_given_features_need_no_evaluator() -> None:
    view = View(IMAGES, features=torch.ones(10, 3), logits=torch.zeros(10, 2))
    assert view.statistics.covariance.shape == (3, 3)


def test_a_view_that_cannot_be_computed_says_so() -> None:
    with pytest.raises(DpbenchError, match="neither features nor an evaluator"):
        _ = View(IMAGES).features


@pytest.mark.parametrize("images", [IMAGES.float(), IMAGES[0]])
def test_only_quantised_batches_are_scored(images: Tensor) -> None:
    with pytest.raises(DpbenchError, match="to_uint8"):
        View(images)


def test_a_large_set_is_held_in_part_but_measured_whole(
    partition: Partition, evaluator: DomainEvaluator
) -> None:
    private = partition.private
    whole = View(private.images, evaluator, labels=private.labels)
    held = View.sampled(private.images, evaluator, labels=private.labels, most=150)
    assert (len(held), held.population, whole.population) == (150, 400, 400)
    assert len(held.images) == len(held.features) == len(held.logits) == 150
    assert held.labels is not None
    assert (
        held.logits.argmax(1) == held.labels
    ).float().mean() > 0.95  # rows still belong together
    torch.testing.assert_close(evaluate(evaluator, held.images)[0], held.features)
    statistics = held.statistics
    torch.testing.assert_close(statistics.mean, whole.statistics.mean, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        statistics.covariance, whole.statistics.covariance, rtol=1e-10, atol=1e-12
    )
    of_those_held = Statistics.of(held.features)
    assert (of_those_held.mean - statistics.mean).abs().max() > 1e-3


def test_a_set_that_can_be_held_stays_as_it_is(
    partition: Partition, evaluator: DomainEvaluator
) -> None:
    images = partition.private.images
    held, whole = View.sampled(images, evaluator), View(images, evaluator)
    assert held.images is images
    assert torch.equal(held.features, whole.features)
    assert torch.equal(held.logits, whole.logits)
    other = Statistics.of(evaluate(evaluator, partition.test.images)[0])
    assert frechet_distance(other, held.statistics) == pytest.approx(
        frechet_distance(other, whole.statistics), rel=1e-9
    )


def test_the_images_held_are_drawn_from_everywhere_and_the_same_each_time() -> None:
    rows = kept_rows(10_000, 1000)
    assert torch.equal(rows, kept_rows(10_000, 1000))
    assert len(rows.unique()) == 1000
    assert torch.equal(rows, rows.sort().values)
    shares = torch.bincount(rows // 1000) / 1000
    assert ((shares - 0.1).abs() < 0.04).all()


def test_another_evaluator_sees_the_same_images_once(evaluator: DomainEvaluator) -> None:
    counting = Counting()
    view = View(torch.zeros(3, 1, 12, 12, dtype=torch.uint8), evaluator)
    assert view.under(counting) is view.under(counting)
    assert len(view.under(counting).features) == 3


def test_labels_come_from_the_labelling_classifier_under_any_evaluator(
    partition: Partition, references: References
) -> None:
    test = partition.test
    labels = references.label(View(test.images, Counting()))
    assert (labels == test.labels).float().mean() > 0.95


def test_what_trials_share_is_computed_once(references: References) -> None:
    calls: list[int] = []

    def compute() -> int:
        calls.append(1)
        return 5

    for _ in range(3):
        assert references.remember("key", compute) == 5
    assert calls == [1]


def test_the_protocol_chooses_the_primary_reference(references: References) -> None:
    assert references.primary is references.private_train
    references.primary_name = "private-test"
    assert references.primary is references.private_test


def test_real_and_generated_images_are_quantised_alike(partition: Partition) -> None:
    """Bytes survive the way through a model's [0, 1], even with a model's small errors."""
    real: LabelledImages = partition.private
    generated = real.images / 255 + torch.empty(real.images.shape).uniform_(-0.4, 0.4) / 255
    assert torch.equal(to_uint8(generated), real.images)
    assert to_uint8(torch.tensor([-0.3, 0.5 / 255 + 1e-6, 254.6 / 255, 1.7])).tolist() == [
        0,
        1,
        255,
        255,
    ]


def test_features_do_not_depend_on_memory_layout(evaluator: DomainEvaluator) -> None:
    images = torch.randint(0, 256, (5, 1, 12, 12), dtype=torch.uint8)
    strided = images.transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(evaluate(evaluator, images)[0], evaluate(evaluator, strided)[0])

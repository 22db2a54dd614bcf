import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from dpbench.api import MetricUnavailable
from dpbench.metrics.inception_score import inception_score


def test_equals_torch_fidelity() -> None:
    logits = 3 * torch.randn(1003, 20, generator=torch.Generator().manual_seed(0))
    expected = isc_features_to_metric(logits)
    mean, std = inception_score(logits)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    assert std == pytest.approx(expected["inception_score_std"], rel=1e-6)


def test_unsure_of_every_image_scores_one() -> None:
    assert inception_score(torch.zeros(200, 10)) == pytest.approx((1.0, 0.0))


def test_one_class_only_scores_one() -> None:
    logits = torch.full((200, 10), -1000.0)
    logits[:, 3] = 1000
    assert inception_score(logits) == pytest.approx((1.0, 0.0))


def test_sure_and_evenly_spread_over_classes_scores_their_number() -> None:
    labels = torch.arange(10).repeat(400)
    mean, _ = inception_score(1000 * torch.eye(10)[labels], splits=1)
    assert mean == pytest.approx(10)


def test_order_of_images_that_come_sorted_by_class_does_not_matter_much() -> None:
    labels = torch.arange(10).repeat_interleave(400)
    mean, _ = inception_score(1000 * torch.eye(10)[labels])
    assert mean > 9.8


@pytest.mark.parametrize(
    ("logits", "reason"),
    [(torch.zeros(9, 4), "at least 10"), (torch.full((20, 4), torch.nan), "not finite")],
)
def test_says_why_there_is_no_score(logits: torch.Tensor, reason: str) -> None:
    with pytest.raises(MetricUnavailable, match=reason):
        inception_score(logits)

import pytest
import torch

from dpbench.api import MetricUnavailable
from dpbench.metrics.classes import class_shares, collapsed


def test_shares_are_counted_among_those_called_private() -> None:
    shares = class_shares(torch.tensor([0, 0, 0, 2, 1, 1, 1, 1]), (0, 2))
    assert shares.private == 0.5
    assert shares.by_class == {0: 0.75, 2: 0.25}
    assert shares.smallest == 0.25


def test_a_class_under_one_percent_means_collapse() -> None:
    labels = torch.zeros(1000, dtype=torch.int64)
    labels[:9] = 2
    assert collapsed(class_shares(labels, (0, 2)).smallest)
    labels[:10] = 2
    assert not collapsed(class_shares(labels, (0, 2)).smallest)


def test_none_called_private_is_a_collapse_and_no_error() -> None:
    shares = class_shares(torch.ones(5, dtype=torch.int64), (0, 2))
    assert shares.private == 0
    assert collapsed(shares.smallest)


def test_no_images_is_named() -> None:
    with pytest.raises(MetricUnavailable, match="no images"):
        class_shares(torch.empty(0, dtype=torch.int64), (0,))

import numpy as np
import pytest
import torch
from torch_fidelity.metric_kid import kernel_mmd

from dpbench.api import MetricUnavailable
from dpbench.metrics.kid import block_mmd, kernel_distance


def gaussian(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 16, generator=torch.Generator().manual_seed(seed)) + shift


def test_one_subset_equals_torch_fidelity() -> None:
    x, y = gaussian(100, 1), gaussian(100, 2, 0.5)
    expected = kernel_mmd(x.double().numpy(), y.double().numpy())
    assert block_mmd(x, y) == pytest.approx(expected, rel=1e-9)


def test_is_zero_on_average_for_equal_distributions_and_may_be_negative() -> None:
    values = [block_mmd(gaussian(40, 2 * i), gaussian(40, 2 * i + 1)) for i in range(400)]
    error = np.std(values) / len(values) ** 0.5
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0 < max(values)


def test_standard_error_predicts_the_spread_over_repetitions() -> None:
    runs = [
        kernel_distance(gaussian(800, 2 * i), gaussian(800, 2 * i + 1, 0.2), 50) for i in range(60)
    ]
    spread = np.std([value for value, _ in runs])
    assert np.mean([error for _, error in runs]) == pytest.approx(spread, rel=0.35)


def test_sees_a_shift() -> None:
    value, error = kernel_distance(gaussian(2000, 1), gaussian(2000, 2, 0.3))
    assert value > 5 * error


@pytest.mark.parametrize(
    ("count", "fill", "reason"), [(999, 0.0, "2 subsets of 500"), (1000, np.nan, "not finite")]
)
def test_says_why_there_is_no_distance(count: int, fill: float, reason: str) -> None:
    with pytest.raises(MetricUnavailable, match=reason):
        kernel_distance(torch.full((count, 4), fill), torch.zeros(2000, 4))

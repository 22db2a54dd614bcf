import numpy as np
import pytest
import torch
from pytorch_fid.fid_score import calculate_frechet_distance

from dpbench.api import MetricUnavailable
from dpbench.metrics.frechet import Moments, Statistics, frechet_distance


def correlated(count: int, dim: int, seed: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=rng) / dim**0.5
    return (torch.randn(count, dim, generator=rng) @ mixing).relu() + 0.1 * seed


@pytest.mark.parametrize(("count", "dim"), [(500, 16), (3000, 64), (300, 128)])
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # within pytorch-fid
def test_equals_pytorch_fid(count: int, dim: int) -> None:
    a, b = correlated(count, dim, 1), correlated(count + 100, dim, 2)
    moments = [
        (x.double().numpy().mean(0), np.cov(x.double().numpy(), rowvar=False)) for x in (a, b)
    ]
    expected = calculate_frechet_distance(*moments[0], *moments[1])
    assert frechet_distance(Statistics.of(a), Statistics.of(b)) == pytest.approx(expected, rel=1e-4)


def test_statistics_are_those_of_numpy_also_across_chunks() -> None:
    features = correlated(9000, 8, 3) + 1000
    statistics = Statistics.of(features)
    np.testing.assert_allclose(statistics.mean, features.double().mean(0), rtol=1e-12)
    np.testing.assert_allclose(
        statistics.covariance, np.cov(features.double().numpy(), rowvar=False), rtol=1e-9
    )


def test_moments_of_uneven_batches_are_those_of_all_features() -> None:
    features = correlated(5000, 12, 3) * torch.logspace(-2, 2, 12) + 300
    moments = Moments.empty(12)
    for batch in features.split([1, 0, 2, 900, 4000, 97]):
        moments.add(batch)
    statistics = moments.statistics()
    exact = features.double().numpy()
    np.testing.assert_allclose(statistics.mean, exact.mean(0), rtol=1e-13)
    np.testing.assert_allclose(
        statistics.covariance, np.cov(exact, rowvar=False), rtol=1e-10, atol=1e-12
    )
    assert statistics.count == 5000


def test_known_distance_of_two_gaussians() -> None:
    eye = torch.eye(3, dtype=torch.float64)
    a = Statistics(torch.zeros(3, dtype=torch.float64), 4 * eye, 10)
    b = Statistics(torch.ones(3, dtype=torch.float64), 9 * eye, 10)
    assert frechet_distance(a, b) == pytest.approx(3 + 3 * (2 - 3) ** 2)


def test_fewer_images_than_features_is_no_obstacle() -> None:
    a, b = Statistics.of(correlated(10, 40, 1)), Statistics.of(correlated(12, 40, 2))
    assert frechet_distance(a, b) > 0
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-6)


def test_a_mode_that_collapsed_to_one_image_still_has_a_distance() -> None:
    constant, reference = Statistics.of(torch.ones(20, 5)), Statistics.of(correlated(50, 5, 1))
    offset = (1 - reference.mean).square().sum() + reference.covariance.trace()
    assert frechet_distance(constant, reference) == pytest.approx(offset.item())


@pytest.mark.parametrize("features", [torch.ones(1, 4), torch.full((8, 4), torch.nan)])
def test_says_why_there_are_no_statistics(features: torch.Tensor) -> None:
    with pytest.raises(MetricUnavailable, match=r"at least 2 images|not finite"):
        Statistics.of(features)


def test_features_of_a_caller_stay_as_they_are() -> None:
    features = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = features.clone()
    Statistics.of(features)
    assert torch.equal(features, before)

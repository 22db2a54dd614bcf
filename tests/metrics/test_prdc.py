import pytest
import torch

from dpbench.api import MetricUnavailable
from dpbench.metrics.neighbours import nearest
from dpbench.metrics.prdc import Manifold, Prdc, prdc, subsample


def brute_force(fake: torch.Tensor, real: torch.Tensor, k: int, k_density: int) -> Prdc:
    """The definitions, word by word, with Python loops."""

    def radius(points: torch.Tensor, k: int) -> list[float]:
        return [sorted((p - q).norm().item() for q in points)[k] for p in points]

    distance = [[(f - r).norm().item() for r in real] for f in fake]
    fakes, reals = range(len(fake)), range(len(real))
    wide, own, dense = radius(real, k), radius(fake, k), radius(real, k_density)
    return Prdc(
        precision=sum(any(distance[i][j] <= wide[j] for j in reals) for i in fakes) / len(fake),
        recall=sum(any(distance[i][j] <= own[i] for i in fakes) for j in reals) / len(real),
        density=sum(distance[i][j] <= dense[j] for i in fakes for j in reals)
        / (k_density * len(fake)),
        coverage=sum(any(distance[i][j] <= dense[j] for i in fakes) for j in reals) / len(real),
    )


def figures(fake: torch.Tensor, real: torch.Tensor, k: int = 3, k_density: int = 5) -> Prdc:
    return prdc(Manifold.of(fake, k, k_density), Manifold.of(real, k, k_density), k_density)


@pytest.mark.parametrize(("k", "k_density"), [(3, 5), (1, 2)])
def test_equals_the_definitions(k: int, k_density: int) -> None:
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(70, 4, generator=rng, dtype=torch.float64)
    fake = torch.randn(60, 4, generator=rng, dtype=torch.float64) * 0.7 + 0.5
    assert figures(fake, real, k, k_density) == brute_force(fake, real, k, k_density)


def test_holds_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    fake, real = torch.randn(50, 3, generator=rng), torch.randn(60, 3, generator=rng)
    whole = figures(fake, real)
    monkeypatch.setattr("dpbench.metrics.neighbours.CHUNK", 7)
    assert figures(fake, real) == whole


def test_one_mode_of_two_keeps_precision_and_loses_recall() -> None:
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(400, 2, generator=rng)
    real[200:] += 100
    got = figures(torch.randn(400, 2, generator=rng), real)
    assert got.precision > 0.9
    assert got.recall < 0.6
    assert got.coverage < 0.6


def test_equal_sets_are_covered() -> None:
    points = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    got = figures(points, points.clone())
    assert (got.precision, got.recall, got.coverage) == (1, 1, 1)


def test_a_k_beyond_the_images_is_named() -> None:
    with pytest.raises(MetricUnavailable, match="k = 5 needs more than 5 images, not 5"):
        Manifold.of(torch.randn(5, 2), 3, 5)


def test_nearest_finds_what_a_full_table_finds() -> None:
    rng = torch.Generator().manual_seed(0)
    queries, points = torch.randn(30, 5, generator=rng), torch.randn(40, 5, generator=rng)
    distances, indices = nearest(queries, points, 2)
    table = torch.cdist(queries.double(), points.double()).topk(2, largest=False)
    assert torch.equal(indices, table.indices)
    torch.testing.assert_close(distances.double().sqrt(), table.values, rtol=1e-4, atol=1e-4)


def test_subsample_is_the_same_each_time_and_keeps_all_when_there_are_few() -> None:
    points = torch.arange(20.0)[:, None]
    assert torch.equal(subsample(points, 6), subsample(points, 6))
    assert sorted(subsample(points, 99).flatten().tolist()) == list(range(20))

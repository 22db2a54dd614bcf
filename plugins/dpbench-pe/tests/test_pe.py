import math
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from dpbench_pe import PE, register_generators
from torch import Tensor

from dpbench.testing import Fit, GeneratorKit, fit

DIM = 4


class TestPE(GeneratorKit):
    plugin = PE
    params: ClassVar[dict[str, Any]] = {"population": 40, "rounds": 3}


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clusters(size: int, seed: int) -> Tensor:
    """Two clusters, 70 and 30 per cent, at -2 and 2 on the first axis."""
    own = rng(seed)
    latents = 0.5 * torch.randn(size, DIM, generator=own)
    latents[:, 0] += torch.where(torch.rand(size, generator=own) < 0.7, -2.0, 2.0)
    return latents


PRIVATE = clusters(6000, 0)
PUBLIC = torch.randn(1000, DIM, generator=rng(1))


def fitted(epsilon: float, **params: Any) -> Fit:
    return fit(PE, PRIVATE, PUBLIC, epsilon=epsilon, **params)


def distance(made: Tensor) -> float:
    """Mean over 64 directions of the Wasserstein-1 distance to fresh records."""
    truth = clusters(len(made), 5)
    rays = torch.nn.functional.normalize(torch.randn(DIM, 64, generator=rng(6)), dim=0)
    return float(((made @ rays).sort(0).values - (truth @ rays).sort(0).values).abs().mean())


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["pe"]
    module = metadata.EntryPoint("pe", entry, "dpbench").load()
    assert module.register_generators is register_generators


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 10.0])
def test_all_of_the_budget_buys_votes_of_sensitivity_one(epsilon: float) -> None:
    private = fitted(epsilon, population=50, rounds=3).private
    assert len(private.ledger.mechanisms) == 3
    assert {m.sensitivity for m in private.ledger.mechanisms} == {1.0}
    assert 0.98 * epsilon <= private.spent.epsilon <= epsilon


def test_without_noise_it_finds_the_clusters() -> None:
    made = fitted(math.inf, population=400, rounds=12).sample(4000)
    assert distance(made) < 0.35 * distance(torch.randn(4000, DIM, generator=rng(3)))
    assert abs(float((made[:, 0] < 0).float().mean()) - 0.7) < 0.08


def test_at_epsilon_one_it_beats_the_public_start() -> None:
    start = distance(torch.randn(4000, DIM, generator=rng(3)))
    assert distance(fitted(1.0, rounds=8).sample(4000)) < 0.6 * start


def test_when_no_vote_rises_above_the_noise_all_members_stay() -> None:
    made = fitted(0.01, population=200, rounds=1, threshold=50.0).sample(500)
    assert made.isfinite().all()
    assert len(made.unique(dim=0)) == 500


def test_the_last_variation_is_that_of_samples() -> None:
    generator = fitted(1.0, population=20, rounds=2, last=0.01).generator
    nearest = torch.cdist(generator.sample(100, rng(2)), generator.state()["population"]).amin(1)
    assert nearest.max() < 0.05

import math
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from dpbench_merf import MERF, register_generators
from dpbench_merf.features import FourierFeatures, frequencies
from torch import Tensor

from dpbench.testing import Fit, GeneratorKit, fit

DIM = 4
SMALL = {"features": 300, "hidden": (64,), "batch": 250, "steps": 400, "learning_rate": 1e-2}


class TestMERF(GeneratorKit):
    plugin = MERF
    params: ClassVar[dict[str, Any]] = {"features": 50, "hidden": (16,), "batch": 20}


def clusters(size: int, seed: int) -> Tensor:
    """Two clusters, 70 and 30 per cent, at -2 and 2 on the first axis."""
    own = rng(seed)
    latents = 0.5 * torch.randn(size, DIM, generator=own)
    latents[:, 0] += torch.where(torch.rand(size, generator=own) < 0.7, -2.0, 2.0)
    return latents


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


PRIVATE = clusters(6000, 0)
PUBLIC = torch.randn(1000, DIM, generator=rng(1))


def fitted(epsilon: float, **more: Any) -> Fit:
    return fit(MERF, PRIVATE, PUBLIC, epsilon=epsilon, **{**SMALL, **more})


def distance(made: Tensor) -> float:
    """Mean over 64 directions of the Wasserstein-1 distance to fresh records."""
    truth = clusters(len(made), 5)
    rays = torch.nn.functional.normalize(torch.randn(DIM, 64, generator=rng(6)), dim=0)
    return float(((made @ rays).sort(0).values - (truth @ rays).sort(0).values).abs().mean())


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["merf"]
    module = metadata.EntryPoint("merf", entry, "dpbench").load()
    assert module.register_generators is register_generators


def test_inner_products_of_features_are_the_gaussian_kernel() -> None:
    features = FourierFeatures(frequencies(PUBLIC, 20_000, (0.5,), rng(2)))
    width = 0.5 * float(torch.pdist(PUBLIC[torch.randperm(1000, generator=rng(2))[:500]]).median())
    found = features(PRIVATE[:50]) @ features(PRIVATE[:50]).T
    wanted = torch.exp(-torch.cdist(PRIVATE[:50], PRIVATE[:50]).square() / (2 * width**2))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.03)
    torch.testing.assert_close(found.diagonal(), torch.ones(50))


def test_all_of_the_budget_buys_one_release_of_sensitivity_one() -> None:
    private = fitted(1.0, steps=1).private
    (mechanism,) = private.ledger.mechanisms
    assert (mechanism.count, mechanism.sensitivity, mechanism.sampling_rate) == (1, 1.0, 1.0)
    assert 0.98 < private.spent.epsilon <= 1


def test_without_noise_it_finds_the_clusters() -> None:
    made = fitted(math.inf).sample(4000)
    assert distance(made) < 0.45 * distance(torch.randn(4000, DIM, generator=rng(3)))
    assert abs(float((made[:, 0] < 0).float().mean()) - 0.7) < 0.08


@pytest.mark.parametrize("epsilon", [0.2, 1.0])
def test_with_noise_it_beats_the_public_start(epsilon: float) -> None:
    start = distance(torch.randn(4000, DIM, generator=rng(3)))
    assert distance(fitted(epsilon).sample(4000)) < 0.6 * start


def test_frequencies_follow_from_public_latents_alone() -> None:
    again = torch.equal(
        frequencies(PUBLIC, 9, (1.0, 0.5), rng(4)), frequencies(PUBLIC, 9, (1.0, 0.5), rng(4))
    )
    assert again
    assert frequencies(PUBLIC[:1], 9, (1.0, 0.5), rng(4)).isfinite().all()

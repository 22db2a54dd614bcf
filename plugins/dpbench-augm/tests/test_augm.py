import math
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from dpbench_augm import AuGM, register_generators
from dpbench_augm.autoencoder import Autoencoder, reconstruction_error, start
from torch import Tensor

from dpbench.testing import Fit, GeneratorKit, fit

DIM = 4
SMALL = {"hidden": 16, "code": 2, "batch": 200, "steps": 80, "learning_rate": 2e-2}


class TestAuGM(GeneratorKit):
    plugin = AuGM
    params: ClassVar[dict[str, Any]] = {"hidden": 8, "code": 2, "batch": 16, "steps": 4}


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sheet(size: int, seed: int) -> Tensor:
    """Records near a plane, off the origin."""
    latents = 0.05 * torch.randn(size, DIM, generator=rng(seed))
    latents[:, :2] += torch.randn(size, 2, generator=rng(seed + 100))
    latents[:, 2] += 1.5
    return latents


PRIVATE = sheet(4000, 0)
PUBLIC = torch.randn(1000, DIM, generator=rng(1))


def fitted(epsilon: float, **more: Any) -> Fit:
    return fit(AuGM, PRIVATE, PUBLIC, epsilon=epsilon, **{**SMALL, **more})


def height_error(made: Tensor) -> float:
    """How far latents lie from the records' plane."""
    return float((made[:, 2:] - torch.tensor([1.5, 0.0])).square().mean().sqrt())


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["augm"]
    module = metadata.EntryPoint("augm", entry, "dpbench").load()
    assert module.register_generators is register_generators


def test_all_of_the_budget_goes_to_steps() -> None:
    private = fitted(1.0, steps=5).private
    (mechanism,) = private.ledger.mechanisms
    assert (mechanism.count, mechanism.sampling_rate) == (5, 0.05)
    assert 0.98 < private.spent.epsilon <= 1


@pytest.mark.parametrize(("epsilon", "share"), [(math.inf, 0.4), (1.0, 0.5)])
def test_public_latents_come_out_near_the_private_ones(epsilon: float, share: float) -> None:
    made = fitted(epsilon, noise=1.0).sample(1000)
    assert height_error(made) < share * height_error(PUBLIC)
    assert float(made[:, :2].std()) > 0.5  # and not all at one place


def test_what_passes_through_is_public() -> None:
    made = fitted(math.inf, steps=1, noise=0.0, bank=3).sample(200)
    assert len(made.unique(dim=0)) == 3


def test_the_loss_is_the_error_of_undoing_noise() -> None:
    net = Autoencoder(DIM, 8, 2)
    start(net, rng(3))
    z, noise = torch.randn(5, DIM, generator=rng(4)), torch.randn(5, DIM, generator=rng(5))
    wanted = torch.stack(
        [(net(a + 0.5 * b) - a).square().mean() for a, b in zip(z, noise, strict=True)]
    )
    found = reconstruction_error(0.5)(net, torch.cat([z, noise], 1))
    torch.testing.assert_close(found, wanted)

"""A user's own colour images, through all six methods, with no special settings but speed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result

from dpbench.api import Context
from dpbench.plugins import registry

SIX = {"ae-enc-GAN", "ae-enc-VAE", "ae-grad-GAN", "ae-grad-VAE", "wgan-GAN", "wgan-VAE"}
CONFIG = """
dataset = "own"
delta = 1e-3
executor = "in-process"
default_protocols = ["quick"]
[latents]
public_images = 60
[datasets.own]
plugin = "npz"
path = "own.npz"
partition = { labelling = 0.4 }
[public.ae]
epochs = 2
[public.wgan]
steps = 5
[extractors.gradient]
steps = 2
[extractors.projected-gradient]
steps = 2
[generators.gan]
steps = 3
[generators.vae]
steps = 3
[evaluators.domain]
epochs = 40
[protocols.quick]
samples = 40
[grids.all]
methods = ["ae-*", "wgan-*"]
epsilon = [10]
clip = [1.0]
"""


def discs(count: int, side: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy discs whose colour is the class, uint8 ``[count, side, side, 3]``."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    colours = np.array([[220, 30, 30], [30, 220, 30], [30, 30, 220], [220, 220, 30]])
    y, x = np.mgrid[:side, :side] / side - 0.5
    radius = rng.uniform(0.2, 0.45, (count, 1, 1, 1))
    inside = (x**2 + y**2)[None, ..., None] < radius**2
    images = inside * colours[labels][:, None, None] + rng.integers(0, 30, (count, side, side, 3))
    return images.astype(np.uint8), labels


def rows() -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in Path("runs/results").glob("*.json")]


def test_six_methods_on_32_x_32_colour_images(
    dpbench: Callable[..., Result], tmp_path: Path
) -> None:
    images, labels = discs(240, 32)
    np.savez(tmp_path / "own.npz", images=images, labels=labels)
    names = [word for name in SIX for word in ("--method", name)]
    result = dpbench("run", "--no-controls", *names, base=CONFIG)
    assert result.exit_code == 0, result.output
    assert {row["method"] for row in rows()} == SIX
    assert {row["status"] for row in rows()} <= {"ok", "collapsed"}


def test_labels_that_say_nothing_are_no_ranked_table(
    dpbench: Callable[..., Result], tmp_path: Path
) -> None:
    """Nothing private is learned, and the run fails with the remedy."""
    images, labels = discs(240, 16)
    shuffled = np.random.default_rng(1).permutation(labels)
    np.savez(tmp_path / "own.npz", images=images, labels=shuffled)
    result = dpbench("run", "--no-controls", "--method", "wgan-VAE", base=CONFIG)
    assert result.exit_code == 1
    assert "near chance" in result.output
    assert "more labelling images" in result.output
    assert not list(Path("runs/artifacts").glob("generator/*"))
    assert not any("fid" in row.get("metrics", {}) for row in rows())  # type: ignore[operator]


@pytest.mark.parametrize("name", ["ae", "wgan"])
def test_public_models_of_64_x_64_colour_images(name: str) -> None:
    images = torch.from_numpy(discs(64, 64)[0]).permute(0, 3, 1, 2).contiguous()
    cls = registry().get("public", name).cls
    quick = {"ae": {"epochs": 1}, "wgan": {"steps": 2}}[name]
    model = cls(cls.Params.model_validate(quick), (3, 64, 64))
    model.fit(images, Context(0))
    with torch.inference_mode():
        shown = model.eval().decode(torch.zeros(2, model.latent_dim))
    assert shown.shape == (2, 3, 64, 64)
    assert 0 <= float(shown.min()) <= float(shown.max()) <= 1

"""Sharpening: what decides it, who is sharpened, and that no private image has a part in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import fakes as fake_plugins
import numpy as np
import pytest
import torch
from click.testing import Result as Invoked
from fakes import TINY
from scipy import ndimage
from test_stages import CONTEXT, DATA, linear

import dpbench as package
from dpbench import stages
from dpbench.api import to_float, to_uint8
from dpbench.plugins import Registry
from dpbench.release.sampler import Sampler
from dpbench.results import Result, load_results
from dpbench.stages import PublicTask
from dpbench.stages.detail import MOST, detail_gains, found_gains, raised, render, sharpened
from dpbench.stages.public import decode, load_public_model
from dpbench.store import Store

Run = Callable[..., Invoked]
SHARP = TINY.replace("\nsharpen = false", "")
CPU = torch.device("cpu")


def grainy(count: int = 60, seed: int = 0, channels: int = 1, side: int = 24) -> torch.Tensor:
    """Images with detail at every scale; far from 0 and 1, so that nothing is cut off."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, channels, side, side))
    detail = sum(ndimage.gaussian_filter(noise, (0, 0, s, s)) * s for s in (0, 1, 2))
    return torch.from_numpy(0.5 + 0.05 * detail).float()


def blurred(images: torch.Tensor, deviation: float) -> torch.Tensor:
    """What scipy makes of a Gaussian blur whose weights at the border are shared out anew."""
    reach = {"radius": 23, "mode": "constant"}
    made = ndimage.gaussian_filter(images.numpy(), (0, 0, deviation, deviation), **reach)
    ones = ndimage.gaussian_filter(np.ones(images.shape), (0, 0, deviation, deviation), **reach)
    return torch.from_numpy(made / ones).float()


def test_equal_factors_add_what_blurs_take_away() -> None:
    images = grainy(5, channels=3)
    once = blurred(images, 0.7)
    twice = blurred(once, 1.4)
    gains = torch.tensor([[2.5], [1.5]]).expand(2, 64)
    expected = images + 1.5 * (images - once) + 0.5 * (once - twice)
    torch.testing.assert_close(sharpened(images, gains), expected, atol=1e-5, rtol=0)
    assert torch.equal(sharpened(images, torch.ones(2, 64)), images)
    extreme = sharpened(torch.eye(20)[None, None], torch.full((2, 64), 4.0))
    assert extreme.min() == 0 and extreme.max() == 1


def test_a_factor_holds_where_coarse_detail_is_as_strong_as_it_says() -> None:
    images = grainy(5)
    coarse = blurred(images, 0.7) - blurred(blurred(images, 0.7), 1.4)
    level = (coarse.abs().sqrt() * 63).floor()
    gains = torch.ones(2, 64)
    gains[0, 7] = 3.0
    changed = sharpened(images, gains) != images
    assert changed[level == 7].float().mean() > 0.99
    assert not changed[(level - 7).abs() > 1].any()


def test_detail_that_a_decoder_lost_comes_back() -> None:
    wanted, lost = grainy(seed=1), blurred(grainy(seed=2), 0.7)
    gains = detail_gains(lost, wanted)

    def strength(images: torch.Tensor) -> float:
        return float((images - blurred(images, 0.7)).abs().mean())

    assert strength(lost) < 0.7 * strength(wanted)
    assert strength(sharpened(lost, gains)) == pytest.approx(strength(wanted), rel=0.1)
    assert raised(gains, lost) == pytest.approx(
        strength(sharpened(lost, gains)) / strength(lost), rel=1e-3
    )
    assert gains.min() >= 1 and gains.max() <= MOST


def test_what_is_sharp_stays_as_it_is() -> None:
    images = grainy(seed=1)
    assert torch.equal(detail_gains(images, images), torch.ones(2, 64))
    assert raised(detail_gains(images, blurred(images, 0.7)), images) < 1.01  # never blurs


def test_a_flat_image_is_not_sharpened_by_a_rounding_error() -> None:
    flat = torch.full((60, 1, 24, 24), 0.5)
    torch.testing.assert_close(sharpened(flat, detail_gains(flat, grainy())), flat)


@pytest.mark.parametrize("shape", [(30, 1, 1, 1), (30, 1, 3, 5), (30, 3, 16, 40)])
def test_images_of_any_size_are_sharpened(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    gains = detail_gains(images, images)
    assert torch.equal(gains, torch.ones(2, 64))
    assert sharpened(images, gains + 1).shape == shape


@pytest.fixture
def store(tmp_path: Path, fakes: Registry) -> Store:
    store = Store(tmp_path / "artifacts")
    stages.save_partition(store, DATA, fake_plugins.TinyData(None).load(tmp_path))
    PublicTask("model", DATA.public, linear(), 1).run(store, CONTEXT)
    return store


def test_factors_follow_from_what_is_decoded_and_from_public_images(store: Store) -> None:
    model = load_public_model(store, "model", linear(), CPU)
    images = stages.load_part(store, DATA.public).images
    z = torch.randn(300, 3)
    gains, factor = found_gains(model, z, images, torch.Generator().manual_seed(0), CPU)
    torch.testing.assert_close(
        gains, detail_gains(model.decode(z), to_float(images)), atol=0.05, rtol=0
    )
    assert factor == pytest.approx(raised(gains, model.decode(z)), rel=1e-3)


def test_rendering_is_decoding_and_then_sharpening(store: Store) -> None:
    model, z = load_public_model(store, "model", linear(), CPU), torch.randn(7, 3)
    gains = torch.full((2, 64), 2.0)
    assert torch.equal(render(model, z, CPU), decode(model, z, CPU))
    assert torch.equal(render(model, z, CPU, gains), to_uint8(sharpened(model.decode(z), gains)))


def without_gains(sampler: Sampler) -> dict[str, torch.Tensor]:
    return {name: t for name, t in sampler.tensors.items() if name != "detail.gains"}


def by_method(root: str = "runs") -> dict[str, Result]:
    return {result.method: result for result in load_results(Path(root))}


def test_all_that_is_decoded_is_sharpened_and_says_so(dpbench: Run) -> None:
    assert dpbench("run", base=SHARP).exit_code == 0
    rows = by_method()
    trial = rows.pop("linear-look-MEAN")
    decoded = ("control:reconstruction", "control:public-prior")
    assert all((row.sharpness or 0) >= 1 for row in (trial, *(rows[name] for name in decoded)))
    assert rows["control:real"].sharpness is None
    assert "Decoded images are sharpened" in dpbench("leaderboard", "--format", "markdown").output


@pytest.mark.parametrize("table", ["grids.all", "datasets.tiny"])
def test_a_grid_or_a_data_set_may_leave_images_as_they_are(table: str, dpbench: Run) -> None:
    assert dpbench("run", "--no-controls", base=SHARP).exit_code == 0
    base = SHARP.replace(f"[{table}]", f"[{table}]\nsharpen = false")
    done = dpbench("run", "--no-controls", "--runs", "plain", base=base, extra="\n")
    assert done.exit_code == 0, done.output
    (sharp,), (plain,) = load_results(Path("runs")), load_results(Path("plain"))
    assert plain.sharpness is None and sharp.sharpness is not None
    assert sharp.metrics["fid"] != plain.metrics["fid"]
    assert sharp.artifacts["generator"] == plain.artifacts["generator"]
    # what a grid changes has a heading of its own, what a data set says is a part of it
    assert (plain.settings == sharp.settings) == (table == "datasets.tiny")


def test_a_word_that_is_no_truth_value_is_named(dpbench: Run) -> None:
    base = SHARP.replace("[datasets.tiny]", '[datasets.tiny]\nsharpen = "no"')
    done = dpbench("run", base=base)
    assert done.exit_code != 0 and "sharpen: write true or false" in done.output


def test_a_release_is_sharpened_to_the_detail_of_public_images(dpbench: Run) -> None:
    assert dpbench("run", "--no-controls", base=SHARP).exit_code == 0
    done = dpbench("release", "linear-look-MEAN@10", "--n", "20", "--to", "shared")
    assert done.exit_code == 0, done.output
    sampler = package.load_release("shared")
    gains = sampler.tensors["detail.gains"]
    plain = replace(sampler, tensors=without_gains(sampler)).sample(5, seed=3)
    found = (
        sampler.sample(5, seed=3).int() - to_uint8(sharpened(to_float(plain), gains)).int()
    ).abs()
    assert found.float().mean() < 2  # of 255: what was rounded before it was sharpened
    assert not torch.equal(sampler.sample(5, seed=3), plain)


def test_a_release_and_public_images_tell_its_factors_without_private_ones(dpbench: Run) -> None:
    assert dpbench("run", "--no-controls", base=SHARP).exit_code == 0
    dpbench("release", "linear-look-MEAN@10", "--n", "20", "--to", "shared")
    sampler = package.load_release("shared")
    public = fake_plugins.TinyData(None).load(Path("data")).public.images
    again = replace(sampler, tensors=without_gains(sampler)).sharpened_like(public)
    assert torch.equal(again.tensors["detail.gains"], sampler.tensors["detail.gains"])


def test_a_release_of_before_decodes_as_it_did_or_says_that_it_cannot(dpbench: Run) -> None:
    assert dpbench("run", "--no-controls").exit_code == 0
    dpbench("release", "linear-look-MEAN@10", "--n", "20", "--to", "shared")
    file = Path("shared/sampler.json")
    described = json.loads(file.read_text())
    file.write_text(json.dumps(described | {"format": 2, "sharpness": 0.0}))
    assert "detail.gains" not in package.load_release("shared").tensors
    file.write_text(json.dumps(described | {"format": 2, "sharpness": 0.5}))
    with pytest.raises(package.DpbenchError, match="sharpened in another way"):
        package.load_release("shared")


def test_what_was_scored_otherwise_is_neither_reproduced_nor_released(dpbench: Run) -> None:
    plain = SHARP.replace("[datasets.tiny]", "[datasets.tiny]\nsharpen = false")
    assert dpbench("run", base=plain).exit_code == 0
    assert dpbench("reproduce", "linear-look-MEAN@10").exit_code == 0
    Path("benchmarks.toml").write_text(SHARP)
    again = dpbench("reproduce", "linear-look-MEAN@10")
    assert again.exit_code == 2 and "another trial by now" in again.output
    refused = dpbench("release", "linear-look-MEAN@10", "--n", "20", "--to", "shared")
    assert refused.exit_code != 0 and "score it again" in refused.output
    assert not list(Path("runs/artifacts/generator").glob("*"))[1:]  # and nothing was spent
    assert dpbench("run").exit_code == 0
    assert dpbench("reproduce", "linear-look-MEAN@10").exit_code == 0


def test_rows_with_and_without_stand_in_tables_of_their_own(dpbench: Run) -> None:
    plain = SHARP.replace("[datasets.tiny]", "[datasets.tiny]\nsharpen = false")
    assert dpbench("run", base=plain).exit_code == 0
    assert dpbench("run", "--seed", "1", base=SHARP, extra="\n").exit_code == 0
    text = dpbench("leaderboard", "--format", "markdown").output
    assert text.count("## tiny, default settings") == 2
    assert text.count("generated images, sharpened, against") == 1

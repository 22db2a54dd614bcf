"""How much decoded images are sharpened: what decides it, and who is sharpened."""

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
from test_stages import CONTEXT, DATA, linear, look

import dpbench as package
from dpbench import stages
from dpbench.api import to_float, to_uint8
from dpbench.plugins import Registry
from dpbench.results import Result, load_results
from dpbench.stages import PublicTask, SharpnessTask
from dpbench.stages.data import part_id
from dpbench.stages.public import decode, load_public_model
from dpbench.stages.sharpness import amount_of, best_amount, render, sharpened
from dpbench.store import Store

Run = Callable[..., Invoked]
SHARP = TINY.replace("\nsharpen = false", "")


def grainy(count: int = 40, channels: int = 1, side: int = 20) -> torch.Tensor:
    """Images with detail at every scale; far from 0 and 1, so that nothing is cut off."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(count, channels, side, side))
    detail = sum(ndimage.gaussian_filter(noise, (0, 0, s, s)) * s for s in (0, 1, 2))
    return torch.from_numpy(0.5 + 0.05 * detail).float()


def blurred(images: torch.Tensor) -> torch.Tensor:
    """What scipy makes of the same blur, cut off after the same two pixels."""
    made = ndimage.gaussian_filter(images.numpy(), (0, 0, 0.7, 0.7), mode="mirror", radius=2)
    return torch.from_numpy(made)


def test_sharpening_adds_what_a_blur_takes_away() -> None:
    images = grainy(channels=3)
    expected = images + 1.5 * (images - blurred(images))
    torch.testing.assert_close(sharpened(images, 1.5), expected, atol=1e-6, rtol=0)
    assert sharpened(images, 0) is images
    extreme = sharpened(torch.eye(20)[None, None], 4.0)
    assert extreme.min() == 0 and extreme.max() == 1


def test_the_amount_is_what_the_decoder_lost() -> None:
    images = grainy()
    assert best_amount(images, images) == 0
    assert 0.8 < best_amount(blurred(images), images) < 2.5
    assert best_amount(images, blurred(images)) == 0  # never blurs


def test_a_flat_image_is_not_sharpened_by_a_rounding_error() -> None:
    images = grainy()
    assert best_amount(torch.full_like(images, 0.5), images) == 0


@pytest.mark.parametrize("shape", [(30, 1, 1, 1), (30, 1, 3, 5), (30, 3, 16, 40)])
def test_images_of_any_size_have_an_amount(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    assert best_amount(images, images) == 0
    assert sharpened(images, 1.0).shape == shape


@pytest.fixture
def store(tmp_path: Path, fakes: Registry) -> Store:
    store = Store(tmp_path / "artifacts")
    stages.save_partition(store, DATA, fake_plugins.TinyData(None).load(tmp_path))
    PublicTask("model", DATA.public, linear(), 1).run(store, CONTEXT)
    return store


def test_public_images_alone_decide(store: Store) -> None:
    task = SharpnessTask("found", DATA.public, "model", linear(), look(), 1)
    assert part_id(DATA.private) not in task.reads()
    store.remove(*part_id(DATA.private))
    assert task.run(store, CONTEXT) == {}
    model = load_public_model(store, "model", linear(), CONTEXT.device)
    images = to_float(stages.load_part(store, DATA.public).images)
    expected = best_amount(model.decode(model.encode(images)), images)
    assert amount_of(store, "found") == pytest.approx(expected, abs=0.02)
    assert expected > 0
    assert amount_of(store, None) == 0


def test_rendering_is_decoding_and_then_sharpening(store: Store) -> None:
    model, cpu = load_public_model(store, "model", linear(), CONTEXT.device), CONTEXT.device
    z = torch.randn(7, 3)
    assert torch.equal(render(model, z, cpu, 0.0), decode(model, z, cpu))
    assert torch.equal(render(model, z, cpu, 2.0), to_uint8(sharpened(model.decode(z), 2.0)))


def by_method(root: str = "runs") -> dict[str, Result]:
    return {result.method: result for result in load_results(Path(root))}


def test_all_that_is_decoded_is_sharpened_and_says_so(dpbench: Run) -> None:
    assert dpbench("run", base=SHARP).exit_code == 0
    rows = by_method()
    trial = rows.pop("linear-look-MEAN")
    decoded = ("control:reconstruction", "control:public-prior")
    assert trial.sharpness and all(rows[name].sharpness == trial.sharpness for name in decoded)
    assert rows["control:real"].sharpness is None
    assert "Decoded images are sharpened" in dpbench("leaderboard", "--format", "markdown").output


@pytest.mark.parametrize("table", ["grids.all", "datasets.tiny"])
def test_a_grid_or_a_data_set_may_leave_images_as_they_are(table: str, dpbench: Run) -> None:
    assert dpbench("run", "--no-controls", base=SHARP).exit_code == 0
    base = SHARP.replace(f"[{table}]", f"[{table}]\nsharpen = false")
    done = dpbench("run", "--no-controls", "--runs", "plain", base=base, extra="\n")
    assert done.exit_code == 0, done.output
    (sharp,), (plain,) = load_results(Path("runs")), load_results(Path("plain"))
    assert plain.sharpness is None and "sharpness" not in plain.artifacts
    assert sharp.metrics["fid"] != plain.metrics["fid"]
    assert sharp.artifacts["generator"] == plain.artifacts["generator"]
    # what a grid changes has a heading of its own, what a data set says is a part of it
    assert (plain.settings == sharp.settings) == (table == "datasets.tiny")


def test_a_word_that_is_no_truth_value_is_named(dpbench: Run) -> None:
    base = SHARP.replace("[datasets.tiny]", '[datasets.tiny]\nsharpen = "no"')
    done = dpbench("run", base=base)
    assert done.exit_code != 0 and "sharpen: write true or false" in done.output


def test_a_release_is_as_sharp_as_what_was_scored(dpbench: Run) -> None:
    assert dpbench("run", "--no-controls", base=SHARP).exit_code == 0
    (row,) = load_results(Path("runs"))
    done = dpbench("release", "linear-look-MEAN@10", "--n", "20", "--to", "shared")
    assert done.exit_code == 0, done.output
    sampler = package.load_release("shared")
    assert sampler.sharpness == row.sharpness
    plain = replace(sampler, sharpness=0.0).sample(5, seed=3)
    sharp = to_uint8(sharpened(to_float(plain), sampler.sharpness))
    assert (sampler.sample(5, seed=3).int() - sharp.int()).abs().max() <= 1 + sampler.sharpness
    assert not torch.equal(sampler.sample(5, seed=3), plain)


def test_a_release_of_before_decodes_as_it_did(dpbench: Run) -> None:
    assert dpbench("run", "--no-controls", base=SHARP).exit_code == 0
    dpbench("release", "linear-look-MEAN@10", "--n", "20", "--to", "shared")
    file = Path("shared/sampler.json")
    described = json.loads(file.read_text())
    del described["sharpness"]
    file.write_text(json.dumps(described | {"format": 1}))
    assert package.load_release("shared").sharpness == 0


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

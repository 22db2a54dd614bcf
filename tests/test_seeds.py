"""What a run draws follows from configuration and seed, never from code or private data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
import torch
from guesses import guessed_roots
from torch import Tensor

from dpbench.api import LabelledImages, Partition
from dpbench.planning import planner
from dpbench.planning.plan import Plan
from dpbench.plugins import Registered, Registry
from dpbench.privacy.session import PrivateSession
from dpbench.runner.prepare import Prepared
from dpbench.stages import GeneratorTask
from dpbench.store import Artifact, Store

Prepare = Callable[..., Prepared]
BLANKED = 7


def blank_one(partition: Partition) -> Partition:
    images = partition.private.images.clone()
    images[BLANKED] = 0
    return replace(partition, private=LabelledImages(images, partition.private.labels))


@pytest.fixture
def blanked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the tiny data set have one private image blank from now on."""
    load = fake_plugins.TinyData.load
    return lambda: monkeypatch.setattr(
        fake_plugins.TinyData, "load", lambda self, cache: blank_one(load(self, cache))
    )


def seeds(plan: Plan) -> dict[str, list[int]]:
    """Return all seeds of a plan, by stage, in its order."""
    found: dict[str, list[int]] = {}
    for job in plan.jobs.values():
        found.setdefault(job.task.stage, []).append(job.task.seed)
        if isinstance(job.task, GeneratorTask):
            lanes = [(lane.seed, lane.noise_seed) for lane in job.task.lanes]
            found["lanes"] = [seed for both in lanes for seed in both]
    return found


def keys(plan: Plan, *stages: str) -> set[str]:
    return {artifact.key for artifact in plan.writers() if artifact.stage in stages}


def test_other_code_gives_other_keys_and_no_other_seed(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = prepare(seeds=(0, 1)).plan
    monkeypatch.setattr(planner, "code_version", lambda entry: f"{entry.cls.name} renamed")
    after = prepare(seeds=(0, 1)).plan
    assert keys(before, "public", "latents", "generator", "score").isdisjoint(
        keys(after, "public", "latents", "generator", "score")
    )
    assert seeds(after) == seeds(before)


def test_other_private_images_change_no_seed_and_no_public_key(
    prepare: Prepare, blanked: Callable[[], None]
) -> None:
    before = prepare(seeds=(0, 1)).plan
    blanked()
    after = prepare(seeds=(0, 1)).plan
    assert seeds(after) == seeds(before)
    assert keys(after, "public", "evaluator") == keys(before, "public", "evaluator")
    private = "references", "latents", "generator"
    assert keys(after, *private).isdisjoint(keys(before, *private))


class Twin(fake_plugins.MeanGenerator):
    """Another name for the same code and parameters."""

    name = "twin"
    label = "TWIN"


def test_plugins_with_equal_parameters_share_no_noise(prepare: Prepare, fakes: Registry) -> None:
    fakes.classes["generator"]["twin"] = Registered(Twin, "dpbench-fakes", "1")
    plan = prepare(grids=("linear-look-MEAN", "linear-look-TWIN")).plan
    lanes = [
        lane for job in plan.jobs.values() if job.task.stage == "generator"
        for lane in job.task.lanes  # type: ignore[attr-defined]
    ]  # fmt: skip
    assert lanes[0].params == lanes[1].params
    drawn = {seed for lane in lanes for seed in (lane.seed, lane.noise_seed)}
    assert len(drawn) == 4


def artifacts(store: Store, stage: str) -> Iterator[Artifact]:
    for directory in sorted((store.root / stage).iterdir()):
        yield store.load(stage, directory.name)


def only(store: Store, stage: str) -> dict[str, Tensor]:
    (artifact,) = artifacts(store, stage)
    return {name: tensor.clone() for name, tensor in artifact.tensors.items()}


def test_a_blank_private_image_moves_nothing_but_its_own_latent(
    carry_out: Any, blanked: Callable[[], None], tmp_path: Path
) -> None:
    store = Store(tmp_path / "runs" / "artifacts")
    carry_out()
    before = {stage: only(store, stage) for stage in ("public", "evaluator", "latents")}
    (tmp_path / "runs").rename(tmp_path / "first")
    blanked()
    carry_out()
    after = {stage: only(store, stage) for stage in before}
    for stage in ("public", "evaluator"):
        assert all(torch.equal(after[stage][n], t) for n, t in before[stage].items()), stage
    for name in ("public", "shift", "forward", "backward"):
        assert torch.equal(after["latents"][name], before["latents"][name]), name
    moved = (after["latents"]["private"] != before["latents"]["private"]).any(1)
    assert moved.nonzero().flatten().tolist() == [BLANKED]


def test_no_lanes_noise_follows_from_the_seed_that_its_generator_sees(prepare: Prepare) -> None:
    plan = prepare(seeds=(0, 1)).plan
    tasks = [job.task for job in plan.jobs.values() if isinstance(job.task, GeneratorTask)]
    lanes = [lane for task in tasks for lane in task.lanes]
    assert lanes
    for lane in lanes:
        assert lane.noise_seed not in guessed_roots(lane.seed)
        assert str(lane.noise_seed) not in repr(lane)


def test_the_harness_trains_with_the_lanes_noise(
    prepare: Prepare, carry_out: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = prepare().plan
    taken = []

    def session(*args: Any, **options: Any) -> PrivateSession:
        taken.append((args[3].seed, options["noise_seed"]))
        return PrivateSession(*args, **options)

    monkeypatch.setattr("dpbench.stages.generator.PrivateSession", session)
    carry_out()
    tasks = [job.task for job in plan.jobs.values()]
    lanes = [lane for t in tasks if isinstance(t, GeneratorTask) for lane in t.lanes]
    assert sorted(taken) == sorted((lane.seed, lane.noise_seed) for lane in lanes)

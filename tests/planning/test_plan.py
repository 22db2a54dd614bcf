"""What a plan shares, groups, finds cached and finds broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
import torch

from dpbench.api import LabelledImages
from dpbench.planning.plan import MAX_LANES, Plan, fingerprint
from dpbench.runner.prepare import Prepared
from dpbench.stages import GeneratorTask, ScoreTask, outputs

Prepare = Callable[..., Prepared]

TWO_GENERATORS = """
[generators.other]
plugin = "mean"
flag = "x"
[grids.two]
methods = ["linear-look-*"]
epsilon = [1, 10]
clip = [1.0, 2.0]
seeds = [0, 1]
"""


def jobs(plan: Plan, stage: str) -> list[Any]:
    return [job for job in plan.jobs.values() if job.task.stage == stage]


def test_trials_share_what_they_have_in_common(prepare: Prepare) -> None:
    plan = prepare(TWO_GENERATORS, grids=("linear-look-MEAN", "linear-look-other")).plan
    assert [len(jobs(plan, stage)) for stage in ("evaluator", "public", "latents")] == [1, 1, 1]
    assert len(jobs(plan, "generator")) == 2
    assert len(jobs(plan, "score")) == 2
    assert plan.count("score") == (4, 0)  # in metrics, of which the protocol has two
    (latents,) = jobs(plan, "latents")
    assert latents.needs == (jobs(plan, "public")[0].id,)
    for job in jobs(plan, "generator"):
        assert job.needs == (latents.id,)


def test_trials_that_differ_in_epsilon_clip_seed_and_lane_axes_are_one_group(
    prepare: Prepare,
) -> None:
    axes = '[grids.wide]\nmethods = ["linear-look-MEAN"]\nepsilon = [1, inf]\nclip = [1, 2]\n'
    axes += 'seeds = [0, 1]\n[grids.wide.axes]\n"generators.mean.shift" = [0.0, 1.0]\n'
    axes += '"generators.mean.flag" = ["a", "b"]\n'
    plan = prepare(axes, grids=("wide",)).plan
    groups = [job.task for job in jobs(plan, "generator")]
    assert sorted(len(group.lanes) for group in groups) == [16, 16]
    for group in groups:
        assert len({lane.key for lane in group.lanes}) == 16
        assert len({lane.params["flag"] for lane in group.lanes}) == 1


def test_a_group_has_a_most(prepare: Prepare) -> None:
    plan = prepare(seeds=tuple(range(MAX_LANES + 3))).plan
    sizes = sorted(len(job.task.lanes) for job in jobs(plan, "generator"))
    assert sizes == [3, MAX_LANES]


def test_every_job_waits_for_jobs_of_the_plan_only(prepare: Prepare) -> None:
    plan = prepare(TWO_GENERATORS, grids=("two",)).plan
    for job in plan.jobs.values():
        assert set(job.needs) <= set(plan.jobs)
    for cell in plan.cells:
        assert set(cell.jobs) <= set(plan.jobs)


def test_what_is_there_is_not_planned_again(carry_out: Any, prepare: Prepare) -> None:
    carry_out()
    plan = prepare().plan
    assert plan.jobs == {}
    assert {stage: plan.count(stage) for stage in ("public", "generator", "score")} == {
        "public": (0, 1),
        "generator": (0, 1),
        "score": (0, 2),
    }
    assert prepare(seeds=(0, 1)).plan.count("generator") == (1, 1)
    assert len(prepare(fresh=True).plan.jobs) == 5


def test_other_hyperparameters_are_other_artifacts(carry_out: Any, prepare: Prepare) -> None:
    carry_out()
    assert set(stages_of(prepare("[generators.mean]\nshift = 1.0\n").plan)) == {
        "generator",
        "score",
    }
    assert set(stages_of(prepare("[public.linear]\nlatent = 2\n").plan)) == {
        "public", "latents", "generator", "score",
    }  # fmt: skip
    more = '[protocols.more]\nsamples = 64\nmetrics = ["fid", "brightness", "kid"]\n'
    scoring = prepare(more, protocols=("more",)).plan
    assert stages_of(scoring) == ["score"]
    (job,) = scoring.jobs.values()
    assert [component.name for component, _ in job.task.metrics] == ["kid"]


def stages_of(plan: Plan) -> list[str]:
    return [job.task.stage for job in plan.jobs.values()]


@pytest.mark.parametrize("stage", ["evaluator", "public", "latents", "generator", "score"])
def test_a_corrupt_artifact_is_removed_and_planned(
    stage: str, carry_out: Any, prepare: Prepare, tmp_path: Path
) -> None:
    carry_out()
    (directory, *_) = (tmp_path / "runs" / "artifacts" / stage).iterdir()
    (directory / "meta.json").write_text("{")
    plan = prepare().plan
    assert plan.corrupt == [f"{stage}/{directory.name}"]
    assert stages_of(plan) == [stage]
    assert not directory.exists()


def test_tasks_name_what_they_leave(prepare: Prepare) -> None:
    plan = prepare(seeds=(0, 1)).plan
    for job in plan.jobs.values():
        left = outputs(job.task)
        if isinstance(job.task, GeneratorTask):
            assert left == [("generator", lane.key) for lane in job.task.lanes]
        elif isinstance(job.task, ScoreTask):
            assert [key for _, key in left] == [key for _, key in job.task.metrics]
        else:
            assert left == [(job.task.stage, job.task.key)]


def test_a_fingerprint_is_that_of_every_image_and_label() -> None:
    data = fake_plugins.TinyData(None).load(Path())
    base = fingerprint(data)
    assert fingerprint(fake_plugins.TinyData(None).load(Path())) == base
    images = data.test.images.clone()
    images[-1, 0, -1, -1] ^= 1
    labels = data.public.labels.clone()
    labels[0] = 3 - labels[0]
    changed = [
        replace(data, test=LabelledImages(images, data.test.labels)),
        replace(data, public=LabelledImages(data.public.images, labels)),
        replace(data, private_classes=(0,)),
        replace(data, public=data.labelling, labelling=data.public),
    ]
    assert len({base, *map(fingerprint, changed)}) == 5
    assert torch.equal(data.test.images, fake_plugins.make_images(80, 4).images)

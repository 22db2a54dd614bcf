"""What a plan shares, groups, finds cached and finds broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import fakes as fake_plugins
import pytest

from dpbench.api import LabelledImages
from dpbench.planning.lanes import MAX_LANES
from dpbench.planning.plan import Job, Plan
from dpbench.runner.prepare import Prepared
from dpbench.stages import ScoreTask
from dpbench.stages.data import PARTS, DataKeys
from dpbench.store import ArtifactId

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
    (latents,), (public,) = jobs(plan, "latents"), jobs(plan, "public")
    assert set(public.task.writes()) < set(latents.task.reads())
    for job in jobs(plan, "generator"):
        assert job.task.reads() == latents.task.writes()


def test_trials_that_differ_in_epsilon_clip_seed_and_lane_axes_are_one_group(
    prepare: Prepare,
) -> None:
    axes = '[grids.wide]\nmethods = ["linear-look-MEAN"]\nepsilon = [1, inf]\nclip = [1, 2]\n'
    axes += 'seeds = [0, 1]\n[grids.wide.axes]\n"generators.mean.shift" = [0.0, 1.0]\n'
    axes += '"generators.mean.flag" = ["a", "b"]\n'
    plan = prepare(axes, grids=("wide",)).plan
    groups = [job.task for job in jobs(plan, "generator")]
    assert sorted(len(group.lanes) for group in groups) == [8] * 4
    for group in groups:
        assert len({lane.key for lane in group.lanes}) == 8
        assert len({lane.private for lane in group.lanes}) == 1
        assert len({lane.params["flag"] for lane in group.lanes}) == 1


def test_a_group_has_a_most(prepare: Prepare) -> None:
    plan = prepare(seeds=tuple(range(MAX_LANES + 3))).plan
    sizes = sorted(len(job.task.lanes) for job in jobs(plan, "generator"))
    assert sizes == [3, MAX_LANES]


def test_all_that_is_read_or_shown_is_there_or_written_by_one_job(prepare: Prepare) -> None:
    prepared = prepare(TWO_GENERATORS, grids=("two",))
    plan, store = prepared.plan, prepared.store
    written = [artifact for job in plan.jobs.values() for artifact in job.task.writes()]
    assert len(written) == len(set(written))
    read = {artifact for job in plan.jobs.values() for artifact in job.task.reads()}
    assert all(artifact in written or store.has(*artifact) for artifact in read)
    assert {artifact for row in plan.rows for artifact in row.needs} <= set(written)


def test_a_part_of_a_plan_has_all_that_leads_to_it_and_no_more(prepare: Prepare) -> None:
    plan = prepare(TWO_GENERATORS, grids=("linear-look-MEAN", "linear-look-other")).plan
    first = plan.rows[0]
    latents = ArtifactId("latents", first.artifacts["latents"])
    assert sorted(stages_of(plan.towards([latents]))) == ["latents", "public"]
    whole = ["evaluator", "generator", "latents", "public", "references", "replay", "score"]
    assert sorted(stages_of(plan.towards(first.needs))) == whole
    assert plan.towards([ArtifactId("latents", "of another plan")]) == {}


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
    assert len(prepare(fresh=True).plan.jobs) == 7


def test_other_hyperparameters_are_other_artifacts(carry_out: Any, prepare: Prepare) -> None:
    carry_out()
    assert set(stages_of(prepare("[generators.mean]\nshift = 1.0\n").plan.jobs)) == {
        "generator",
        "score",
    }
    assert set(stages_of(prepare("[public.linear]\nlatent = 2\n").plan.jobs)) == {
        "public", "latents", "generator", "replay", "score",
    }  # fmt: skip
    more = '[protocols.more]\nsamples = 64\nmetrics = ["fid", "brightness", "kid"]\n'
    scoring = prepare(more, protocols=("more",)).plan
    assert stages_of(scoring.jobs) == ["score"]
    (job,) = scoring.jobs.values()
    assert [component.name for component, _ in cast(ScoreTask, job.task).metrics] == ["kid"]


def stages_of(jobs: dict[str, Job]) -> list[str]:
    return [job.task.stage for job in jobs.values()]


@pytest.mark.parametrize(
    "stage", ["evaluator", "references", "public", "latents", "generator", "score"]
)
def test_a_corrupt_artifact_is_planned_and_left_where_it_is(
    stage: str, carry_out: Any, prepare: Prepare, tmp_path: Path
) -> None:
    carry_out()
    (directory, *_) = (tmp_path / "runs" / "artifacts" / stage).iterdir()
    (directory / "meta.json").write_text("{")
    plan = prepare().plan
    assert plan.corrupt == plan.stale == [ArtifactId(stage, directory.name)]
    assert stages_of(plan.jobs) == [stage]
    assert (directory / "meta.json").read_text() == "{"


def test_jobs_leave_what_they_said(carry_out: Any, prepare: Prepare) -> None:
    prepared = prepare(seeds=(0, 1))
    promised, store = prepared.plan.writers(), prepared.store
    carry_out(seeds=(0, 1))
    assert all(store.check(*artifact) for artifact in promised)
    left = {ArtifactId(p.parent.name, p.name) for p in store.root.glob("*/*")}
    assert {a for a in left - set(promised) if a.stage not in ("data", "features")} == set()


def test_each_part_of_the_data_has_a_fingerprint_of_all_its_images_and_labels() -> None:
    data = fake_plugins.TinyData(None).load(Path())
    base = DataKeys.of(data)
    assert DataKeys.of(fake_plugins.TinyData(None).load(Path())) == base
    assert len({getattr(base, part) for part in PARTS}) == 4
    images = data.test.images.clone()
    images[-1, 0, -1, -1] ^= 1
    changed = DataKeys.of(replace(data, test=LabelledImages(images, data.test.labels)))
    assert changed == replace(base, test=changed.test)
    assert changed.test != base.test
    labels = data.public.labels.clone()
    labels[0] = 3 - labels[0]
    changed = DataKeys.of(replace(data, public=LabelledImages(data.public.images, labels)))
    assert changed == replace(base, public=changed.public)
    assert changed.public != base.public

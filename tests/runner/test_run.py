"""Whole runs of a tiny grid in this process: what continues, what fails, what is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import filelock
import pytest
import torch

from dpbench import store as store_module
from dpbench.api import Partition
from dpbench.errors import DpbenchError
from dpbench.executors.device import choose_device
from dpbench.planning.config import Config
from dpbench.planning.plan import Options
from dpbench.planning.trials import Request
from dpbench.results import Result, load_results
from dpbench.runner.directory import RunDirectory
from dpbench.runner.execute import execute
from dpbench.runner.prepare import Prepared, keep_trained
from dpbench.runner.prepare import prepare as prepare_run

Carry = Callable[..., tuple[list[Result], fake_plugins.InProcess]]
Prepare = Callable[..., Prepared]


def files(runs: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every artifact's files."""
    return {
        str(path.relative_to(runs)): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in (runs / "artifacts").rglob("*")
        if path.is_file()
    }


def by_method(results: list[Result]) -> dict[str, Result]:
    return {result.method: result for result in results}


def test_a_run_leaves_one_result_per_trial(carry_out: Carry, tmp_path: Path) -> None:
    results, executor = carry_out(epsilon=(10.0, float("inf")))
    assert [result.status for result in results] == ["ok", "ok"]
    assert executor.stages.count("public") == executor.stages.count("latents") == 1
    private, free = results
    assert private.method == "linear-look-MEAN"
    assert private.epsilon_spent is not None and free.epsilon_spent is not None
    assert 0 < private.epsilon_spent < 10 < free.epsilon_spent
    assert {"fid", "brightness"} <= set(private.metrics)
    assert private.protocol["samples"] == 64
    assert {r.key for r in load_results(tmp_path / "runs")} == {r.key for r in results}


def test_the_second_run_computes_nothing(carry_out: Carry, tmp_path: Path) -> None:
    first, _ = carry_out()
    before = files(tmp_path / "runs")
    second, executor = carry_out()
    assert executor.ran == []
    assert second == first
    assert files(tmp_path / "runs") == before


def test_a_run_that_computes_nothing_hashes_no_tensors_twice(
    carry_out: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry_out(seeds=(0, 1))
    hashed: Counter[tuple[str, str]] = Counter()
    sha256 = store_module._sha256

    def count(path: Path) -> str:
        hashed[path.parent.parent.name, path.parent.name] += 1
        return sha256(path)

    monkeypatch.setattr(store_module, "_sha256", count)
    _, executor = carry_out(seeds=(0, 1))
    assert executor.ran == []
    assert {stage for stage, _ in hashed} >= {"generator", "latents", "data"}
    assert set(hashed.values()) == {1}


def test_a_wider_grid_computes_only_what_is_new(carry_out: Carry, tmp_path: Path) -> None:
    carry_out()
    before = files(tmp_path / "runs")
    results, executor = carry_out(epsilon=(10.0, 1.0), seeds=(0, 1))
    assert [result.status for result in results] == ["ok"] * 4
    assert executor.stages == ["generator", "score", "score", "score"]
    assert before.items() <= files(tmp_path / "runs").items()


def test_fresh_computes_everything_again(carry_out: Carry, tmp_path: Path) -> None:
    first, _ = carry_out()
    before = files(tmp_path / "runs")
    second, executor = carry_out(fresh=True)
    assert sorted(executor.stages) == [
        "evaluator",
        "generator",
        "latents",
        "public",
        "references",
        "replay",
        "score",
    ]
    assert second[0].metrics == first[0].metrics
    after = files(tmp_path / "runs")
    kept = {name for name in before if after.get(name) == before[name]}
    assert {Path(name).parts[1] for name in kept} <= {"data"}


def test_fresh_replaces_what_a_damaged_upstream_made(carry_out: Carry, tmp_path: Path) -> None:
    good, _ = carry_out()
    (score, *_) = (tmp_path / "runs" / "artifacts" / "features").glob("*/tensors.safetensors")
    score.write_bytes(b"damaged")
    again, _ = carry_out(fresh=True)
    assert again[0].metrics == good[0].metrics


@pytest.mark.parametrize("stage", ["public", "latents", "generator", "score"])
def test_a_run_goes_on_after_a_corrupt_artifact(
    stage: str, carry_out: Carry, tmp_path: Path
) -> None:
    good, _ = carry_out()
    (directory, *_) = (tmp_path / "runs" / "artifacts" / stage).iterdir()
    (directory / "meta.json").write_text("{}")
    again, executor = carry_out()
    assert executor.stages == [stage]
    assert again == good or stage == "generator"  # whose seconds differ
    assert again[0].metrics == good[0].metrics


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("raises", "failed", "RuntimeError: the generator broke (traceback in "),
        ("refuses", "failed", "this generator wants more records: use a larger data set"),
        ("shape", "failed", "sampled shape (64, 4) instead of (64, 3)"),
        ("silent", "failed", "used no private data"),
        ("nan", "diverged", "training reached NaN or infinity: lower the learning rate"),
        ("infinite", "diverged", "training reached NaN or infinity"),
    ],
)
def test_a_failing_generator_costs_only_its_own_trials(
    carry_out: Carry, fault: str, status: str, reason: str
) -> None:
    extra = f'[generators.bad]\nplugin = "mean"\nfault = "{fault}"\n'
    results, _ = carry_out(extra, grids=("linear-look-MEAN", "linear-look-bad"))
    found = by_method(results)
    assert found["linear-look-MEAN"].status == "ok"
    bad = found["linear-look-bad"]
    assert bad.status == status
    assert bad.reason is not None
    assert reason in bad.reason
    assert "\n" not in bad.reason
    assert bad.metrics == {}


def test_the_traceback_of_a_stranger_is_kept(carry_out: Carry, tmp_path: Path) -> None:
    (result,), _ = carry_out('[generators.mean]\nfault = "raises"\n')
    (log,) = (tmp_path / "runs" / "logs").iterdir()
    assert result.reason is not None
    assert str(log) in result.reason
    assert "and says a lot about it" in log.read_text()


@pytest.mark.parametrize("fault", ["raises", "refuses", "shape", "silent", "nan"])
def test_a_failing_lane_leaves_its_neighbours(carry_out: Carry, fault: str) -> None:
    axes = '[grids.all.axes]\n"generators.mean.lane" = ["none", "{}"]\n'
    results, executor = carry_out(axes.format(fault), seeds=(0, 1))
    statuses = [(result.axes["generators.mean.lane"], result.status) for result in results]
    wrong = "diverged" if fault == "nan" else "failed"
    assert sorted(statuses) == sorted([("none", "ok"), (fault, wrong)] * 2)
    alone = fault in ("raises", "refuses")  # then the group itself broke, and is tried in parts
    assert executor.stages.count("generator") == (5 if alone else 1)


def test_lanes_of_a_split_group_have_the_numbers_of_a_whole_one(carry_out: Carry) -> None:
    axes = '[grids.all.axes]\n"generators.mean.lane" = ["none", "raises"]\n'
    split, _ = carry_out(axes)
    whole, _ = carry_out(fresh=True)
    assert [r.metrics for r in split if r.status == "ok"] == [whole[0].metrics]


def test_failed_trials_are_tried_again_by_the_next_run(carry_out: Carry) -> None:
    (first,), _ = carry_out(dies_on={"generator": "its process died"})
    assert (first.status, first.reason) == ("failed", "its process died")
    (second,), executor = carry_out()
    assert second.status == "ok"
    assert executor.stages == ["generator", "replay", "score"]


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (
            "[public.linear]\nfails = true\n",
            "linear on tiny failed: RuntimeError: the public model",
        ),
        (
            '[extractors.look]\nfault = "raises"\n',
            "linear latents by look failed: RuntimeError: the extractor broke",
        ),
        (
            '[extractors.look]\nfault = "short"\n',
            "linear latents by look failed: extractor 'look' returned shape (99, 3)",
        ),
    ],
)
def test_a_failure_upstream_skips_trials_with_its_reason(
    carry_out: Carry, extra: str, reason: str
) -> None:
    more = '[extractors.fine]\nplugin = "look"\n[public.good]\nplugin = "linear"\n'
    grids = ("linear-look-MEAN", "good-fine-MEAN")
    results, _ = carry_out(extra + more, grids=grids, seeds=(0, 1))
    found = {(result.method, result.seed): result for result in results}
    for seed in (0, 1):
        bad = found["linear-look-MEAN", seed]
        assert bad.status == "skipped"
        assert bad.reason is not None
        assert bad.reason.startswith(reason)
        assert found["good-fine-MEAN", seed].status == "ok"


def test_a_metric_that_fails_leaves_the_rest_of_the_row(carry_out: Carry) -> None:
    (result,), _ = carry_out('[metrics.brightness]\nfault = "raises"\n')
    assert result.status == "ok"
    assert result.metrics["fid"] >= 0
    assert result.unavailable == {"brightness": "RuntimeError: the metric broke"}


def test_a_scoring_job_that_dies_fails_its_trial(carry_out: Carry) -> None:
    (result,), _ = carry_out(dies_on={"score": "its process died (exit code -9)"})
    assert (result.status, result.reason) == ("failed", "its process died (exit code -9)")
    assert result.epsilon_spent is not None
    (again,), _ = carry_out()
    assert again.status == "ok"


def test_what_overspends_is_never_ok(carry_out: Carry) -> None:
    (result,), _ = carry_out(epsilon=(0.001,))
    assert result.status == "over-budget"
    assert result.reason is not None
    assert "of a budget of 0.001" in result.reason


def test_results_appear_as_trials_end(prepare: Prepare, tmp_path: Path) -> None:
    prepared = prepare(seeds=(0, 1))
    seen: list[int] = []
    executor = fake_plugins.InProcess.of(prepared.directory)
    execute(prepared, executor, lambda _p, _j: seen.append(len(load_results(tmp_path / "runs"))))
    assert seen == sorted(seen)
    assert set(seen) == {0, 1, 2}


def test_an_interrupted_run_keeps_what_had_ended(
    prepare: Prepare, carry_out: Carry, tmp_path: Path
) -> None:
    class Interrupted(fake_plugins.InProcess):
        def submit(self, job_id: str, task: Any) -> None:
            if task.stage == "generator":
                raise KeyboardInterrupt
            super().submit(job_id, task)

    prepared = prepare()
    with pytest.raises(KeyboardInterrupt):
        execute(prepared, Interrupted.of(prepared.directory))
    before = files(tmp_path / "runs")
    results, executor = carry_out()
    assert executor.stages == ["generator", "replay", "score"]
    assert [result.status for result in results] == ["ok"]
    assert before.items() <= files(tmp_path / "runs").items()


def test_what_a_killed_run_was_writing_is_removed(carry_out: Carry, tmp_path: Path) -> None:
    half = tmp_path / "runs" / "artifacts" / "tmp" / "0123" / "tensors.safetensors"
    other = tmp_path / "runs" / "results" / ".0123.json.4567"
    for path in (half, other):
        path.parent.mkdir(parents=True)
        path.write_text("half")
    results, _ = carry_out()
    assert results[0].status == "ok"
    assert not half.exists()
    assert not other.exists()


def test_two_runs_do_not_share_a_directory(prepare: Prepare, tmp_path: Path) -> None:
    prepared = prepare()
    with (
        filelock.FileLock(tmp_path / "runs" / ".lock"),
        pytest.raises(DpbenchError, match=r"another run is using .*: wait for it, or .*--runs"),
    ):
        execute(prepared, fake_plugins.InProcess.of(prepared.directory))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("[grids.all]\ndelta = 0.01\n", r"delta = 0.01 is not below 1/N = 0.0083 \(120 private"),
        ("[grids.all]\nmethods = ['nothing-*']\n", r"methods\[0\]: unknown method 'nothing-\*'"),
    ],
)
def test_grids_that_cannot_be_run_are_refused(
    configure: Callable[..., Config], tmp_path: Path, extra: str, message: str
) -> None:
    base = 'dataset = "tiny"\n[protocols.default]\n' + extra + "epsilon = [1]\nclip = [1]\n"
    if "methods" not in extra:
        base += 'methods = ["linear-look-MEAN"]\n'
    with pytest.raises(DpbenchError, match=message):
        config = configure(base=base)
        prepare_run(config, Request(), RunDirectory(tmp_path / "runs"), Options())


def test_a_part_without_images_is_refused(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = fake_plugins.TinyData.load

    def lopsided(self: Any, cache: Path) -> Any:
        partition = load(self, cache)
        return Partition(
            labelling=partition.labelling.of_classes(()),
            public=partition.public,
            private=partition.private,
            test=partition.test,
            private_classes=partition.private_classes,
        )

    monkeypatch.setattr(fake_plugins.TinyData, "load", lopsided)
    with pytest.raises(DpbenchError, match="'tiny' has no labelling images: change its partition"):
        prepare()


def test_data_that_cannot_be_read_is_one_line(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, cache: Path) -> Any:
        raise OSError("the disk is gone")

    monkeypatch.setattr(fake_plugins.TinyData, "load", broken)
    with pytest.raises(DpbenchError, match="'tiny' cannot be loaded: the disk is gone"):
        prepare()


def test_scoring_needs_what_is_trained(carry_out: Carry, prepare: Prepare) -> None:
    carry_out()
    more = '[protocols.more]\nsamples = 32\nmetrics = ["brightness"]\n'
    prepared = prepare(more, seeds=(0, 1), protocols=("more",))
    assert keep_trained(prepared) == 1
    assert [row.trial.seed for row in prepared.plan.rows if row.trial] == [0]
    executor = fake_plugins.InProcess.of(prepared.directory)
    (result,) = execute(prepared, executor)
    assert executor.stages == ["score"]
    assert result.protocol["name"] == "more"


def test_devices_are_checked_before_work_starts() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(DpbenchError, match=r"device 'cuda:99' cannot be used .*: try --device cpu"):
        choose_device("cuda:99")
    with pytest.raises(DpbenchError, match="device 'gpu' cannot be used"):
        choose_device("gpu")


def test_a_replay_that_breaks_off_leaves_the_row_and_says_why(carry_out: Carry) -> None:
    (result,), _ = carry_out(dies_on={"replay": "its process died"})
    assert result.status == "ok"
    assert result.privacy is not None and result.privacy.replay is not None
    assert result.privacy.replay.verdict == "not-replayed"
    assert result.privacy.replay.reason == "its process died"

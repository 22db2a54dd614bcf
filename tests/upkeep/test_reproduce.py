"""A trial comes out the same, or what differs is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from click.testing import Result as Invoked
from fakes import TINY

from dpbench.results import load_results, save_result
from dpbench.upkeep.doctor import GIB

Run = Callable[..., Invoked]
TRIAL = "linear-look-MEAN@10"
ONE = ("--epsilon", "10", "--clip", "1")


@pytest.fixture
def run(dpbench: Run) -> Run:
    assert dpbench("run", "--no-controls").exit_code == 0
    return dpbench


@pytest.mark.parametrize("more", [(), ("--whole",)])
def test_a_trial_comes_out_the_same(run: Run, more: tuple[str, ...]) -> None:
    done = run("reproduce", TRIAL, *more)
    assert done.exit_code == 0, done.output
    assert "the same to the last bit" in done.output


TOGETHER = """
[generators.vae]
steps = 12
hidden = [8]
[grids.together]
methods = ["linear-look-vae"]
epsilon = [10, 1]
clip = [1.0]
seeds = [0, 1]
"""


def test_what_trained_with_others_trains_with_them_again(dpbench: Run) -> None:
    ran = dpbench("run", "--no-controls", "--grid", "together", extra=TOGETHER)
    assert ran.exit_code == 0, ran.output
    rows = load_results(Path("runs"))
    assert len(rows) == 4
    for row in rows:
        done = dpbench("reproduce", row.key)
        assert done.exit_code == 0, done.output
        assert "trained again as well: 3 that it trained with" in " ".join(done.output.split())
    (Path("runs/results") / f"{rows[0].key}.json").unlink()
    alone = dpbench("reproduce", rows[1].key)
    assert "1 that it trained with are in no row now" in " ".join(alone.output.split())
    Path("runs/companies.jsonl").unlink()
    unknown = dpbench("reproduce", rows[1].key)
    assert "with which trials it trained is not known here" in " ".join(unknown.output.split())


def test_a_trial_that_was_made_anew_alone_is_made_alone_again(dpbench: Run) -> None:
    run = ("run", "--no-controls", "--grid", "together")
    assert dpbench(*run, extra=TOGETHER).exit_code == 0
    assert dpbench(*run, "--fresh", "--epsilon", "1", "--seed", "1").exit_code == 0
    for row in load_results(Path("runs")):
        done = dpbench("reproduce", row.key)
        assert done.exit_code == 0, done.output
        assert ("trained again" in done.output) == (row.epsilon == 10 or row.seed == 0)


def test_what_differs_is_told(run: Run) -> None:
    (result,) = load_results(Path("runs"))
    metrics = {**result.metrics, "fid": result.metrics["fid"] + 1e-9}
    save_result(Path("runs"), result.model_copy(update={"metrics": metrics}))
    done = run("reproduce", TRIAL)
    assert done.exit_code == 1 and done.output.splitlines()[-1].startswith("fid: ")


def test_another_processor_explains_what_differs(run: Run) -> None:
    history = Path("runs/history.json")
    (made,) = json.loads(history.read_text())
    assert torch.backends.cpu.get_cpu_capability() in made["versions"]["machine"]
    here, there = made["versions"]["machine"], "Linux x86_64 AVX9000, 1 cores"
    history.write_text(json.dumps([{**made, "versions": {**made["versions"], "machine": there}}]))
    same = run("reproduce", TRIAL)
    assert same.exit_code == 0 and there not in same.output
    (result,) = load_results(Path("runs"))
    metrics = {**result.metrics, "fid": result.metrics["fid"] + 1e-9}
    save_result(Path("runs"), result.model_copy(update={"metrics": metrics}))
    told = " ".join(run("reproduce", TRIAL).stderr.split())
    assert f"made on {there}" in told and f"run again on {here}" in told


def test_another_configuration_makes_another_trial(run: Run) -> None:
    done = run("reproduce", TRIAL, extra="[generators.mean]\nscale = 2.0\n")
    assert done.exit_code == 2, done.output


@pytest.mark.parametrize(
    "named",
    [
        ("--method", "mean[shift=0.5]"),
        ("--method", "mean[shift=0.5|0.25]"),
        (
            "--grid",
            "linear-look-*",
            "--epsilon",
            "10",
            "--clip",
            "1",
            "--method",
            "mean[shift=0.5]",
        ),
        ("--grid", "linear-look-mean[shift=0.5]", "--epsilon", "10", "--clip", "1"),
    ],
)
def test_hyperparameters_in_brackets_are_set_again(dpbench: Run, named: tuple[str, ...]) -> None:
    ran = dpbench("run", "--no-controls", *named)
    assert ran.exit_code == 0, ran.output
    for result in load_results(Path("runs")):
        done = dpbench("reproduce", result.key)
        assert done.exit_code == 0, done.output
        assert "the same to the last bit" in done.output


def test_a_method_that_the_grid_all_does_not_have_is_run_again(dpbench: Run) -> None:
    without = TINY.replace("linear-look-MEAN", "linear-look-vae")
    ran = dpbench("run", "--no-controls", "--grid", "linear-look-MEAN", base=without)
    assert ran.exit_code == 0, ran.output
    done = dpbench("reproduce", TRIAL)
    assert done.exit_code == 0, done.output
    assert "the same to the last bit" in done.output


def test_of_several_trials_of_a_name_one_is_named_by_what_is_told(dpbench: Run) -> None:
    swept = '[grids.swept]\nmethods = ["linear-look-MEAN"]\nepsilon = [10]\nclip = [1.0]\n'
    axes = "[grids.swept.axes]\n" + '"generators.mean.shift" = [0.5, 0.25]\n'
    assert dpbench("run", "--no-controls", "--grid", "swept", extra=swept + axes).exit_code == 0
    several = dpbench("logs", TRIAL)
    assert several.exit_code == 2 and "shift = 0.25" in several.output
    for row in load_results(Path("runs")):
        assert row.key[:8] in several.output
        assert dpbench("logs", row.key[:8]).exit_code == 0


def test_a_release_cannot_be_repeated(run: Run) -> None:
    (result,) = load_results(Path("runs"))
    save_result(Path("runs"), result.model_copy(update={"secure": True}))
    done = run("reproduce", TRIAL)
    assert done.exit_code == 2 and "secret source" in done.output


def test_logs_of_a_trial(run: Run) -> None:
    (result,) = load_results(Path("runs"))
    assert "printed anything" in run("logs", TRIAL).output
    logs = Path("runs/logs")
    logs.mkdir(exist_ok=True)
    (logs / f"generator-{result.artifacts['generator']}.txt").write_text("step 100\n")
    (logs / "generator-other.txt").write_text("not mine\n")
    shown = run("logs", TRIAL)
    assert "step 100" in shown.output and "not mine" not in shown.output


def a_machine_with(gib: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this much memory and disk be free, whatever the machine that tests run on has."""
    free = int(gib * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))


def test_the_doctor_finds_what_is_wrong(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    a_machine_with(16, monkeypatch)
    well = run("doctor", "--format", "json")
    assert well.exit_code == 0, well.output
    subjects = {finding["subject"] for finding in json.loads(well.output)}
    assert {"device", "memory", "disk for runs", "plugins", "Inception weights"} <= subjects
    lacks = "dataset = 'own'\n[datasets.own]\nplugin = 'npz'\npath = 'nowhere.npz'\n"
    Path("benchmarks.toml").write_text(lacks)
    data = next(f for f in json.loads(run("doctor", "--format", "json").output)
                if f["subject"] == "data")  # fmt: skip
    assert (data["verdict"], data["found"]) == ("note", "own is not")
    Path("benchmarks.toml").write_text("epsilonn = 1\n")
    ill = run("doctor")
    assert ill.exit_code == 1 and "epsilonn" in ill.output


def test_the_doctor_finds_that_memory_or_disk_is_short(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_machine_with(2, monkeypatch)
    short = run("doctor", "--format", "json")
    found = {f["subject"]: f for f in json.loads(short.output) if f["verdict"] == "wrong"}
    assert short.exit_code == 1 and set(found) == {"memory", "disk for runs", "disk for cache"}
    assert found["memory"]["found"] == "2.0 GiB free of 4 needed"
    assert found["disk for runs"]["found"] == "2.0 GiB free of 5 needed at runs"
    assert "dpbench clean" in found["disk for runs"]["remedy"]

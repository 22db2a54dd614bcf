"""What `dpbench clean` removes, and what it leaves."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result as Invoked

from dpbench.results import load_results
from dpbench.store import Artifact, Store, content_key

Run = Callable[..., Invoked]


@pytest.fixture
def run(dpbench: Run) -> Run:
    done = dpbench("run", "--no-controls", "--seed", "0", "--seed", "1")
    assert done.exit_code == 0, done.output
    return dpbench


def artifacts() -> set[str]:
    return {f"{p.parent.name}/{p.name}" for p in Path("runs/artifacts").glob("*/*")}


def test_rows_go_with_what_only_they_stand_on(run: Run) -> None:
    before = artifacts()
    told = run("clean", "--method", "linear-*", "--dry-run")
    assert "would remove 2 rows" in told.output and artifacts() == before
    done = run("clean", "--method", "linear-*")
    assert done.exit_code == 0 and "removed 2 rows" in done.output
    assert load_results(Path("runs")) == []
    assert not any(name.startswith(("generator/", "latents/", "public/")) for name in artifacts())


def test_what_other_rows_stand_on_stays(run: Run) -> None:
    first = min(Path("runs/results").glob("*.json"))
    long_ago = time.time() - 3 * 86400
    os.utime(first, (long_ago, long_ago))
    done = run("clean", "--older-than", 2)
    assert "removed 1 rows" in done.output
    left = load_results(Path("runs"))
    assert len(left) == 1
    for name, key in left[0].artifacts.items():
        assert f"{'score' if name.startswith('score.') else name}/{key}" in artifacts()
    again = run("run", "--no-controls", "--seed", "0", "--seed", "1")
    assert again.exit_code == 0 and len(load_results(Path("runs"))) == 2


def test_a_published_leaderboard_keeps_its_artifacts(run: Run) -> None:
    run("leaderboard", "--write", "leaderboard")
    kept = run("clean", "--method", "*")
    assert "removed 0 rows" in kept.output and "kept 2 rows" in kept.output
    assert "removed 2 rows" in run("clean", "--method", "*", "--even-published").output


def test_a_damaged_table_is_no_leave_to_remove(run: Run) -> None:
    Path("leaderboard").mkdir()
    Path("leaderboard/results.csv").write_bytes(b"\xff\xfe\x00")
    refused = run("clean", "--method", "*")
    assert refused.exit_code == 2 and "cannot be read" in refused.output
    assert len(load_results(Path("runs"))) == 2


def test_unreachable_artifacts_go(run: Run) -> None:
    min(Path("runs/results").glob("*.json")).unlink()
    before = artifacts()
    done = run("clean", "--unreachable")
    assert "removed 0 rows" in done.output
    gone = before - artifacts()
    # The generator stays: the replay that the other row shows is of both.
    assert {name.partition("/")[0] for name in gone} == {"features", "score"}
    assert run("run", "--no-controls", "--seed", "1").exit_code == 0


def test_what_a_choice_was_among_stays_while_the_chosen_does(dpbench: Run) -> None:
    dpbench("run", "--no-controls", "--clip", "1")
    dpbench("run", "--no-controls", "--clip", "2")
    long_ago = time.time() - 9 * 86400
    (one,) = (r for r in load_results(Path("runs")) if r.clip == 1)
    os.utime(f"runs/results/{one.key}.json", (long_ago, long_ago))
    kept = dpbench("clean", "--older-than", 2)
    assert "removed 0 rows" in kept.output and "chosen among them" in kept.output
    assert "removed 2 rows" in dpbench("clean", "--method", "*").output


def test_a_choice_paid_for_is_never_unreachable(run: Run) -> None:
    Store(Path("runs/artifacts")).save("choice", "c" * 32, Artifact({"picked": 0}))
    run("clean", "--unreachable")
    assert f"choice/{'c' * 32}" in artifacts()


def test_what_killed_runs_were_writing_goes(run: Run) -> None:
    (Path("runs/artifacts/tmp") / "half").mkdir(parents=True)
    told = run("clean", "--unreachable", "--dry-run").output
    assert "would remove 1 temporary directories of killed runs" in told
    assert Path("runs/artifacts/tmp/half").exists()
    assert "removed 1 temporary" in run("clean", "--unreachable").output
    assert not Path("runs/artifacts/tmp/half").exists()


def test_it_wants_to_be_told_what(run: Run) -> None:
    done = run("clean")
    assert done.exit_code == 2 and "--unreachable" in done.output


def test_rows_of_a_plugin_that_is_gone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "removed 0 rows" in run("clean", "--uninstalled").output
    monkeypatch.setenv("DPBENCH_PLUGINS", "")  # the grid goes on naming its method
    done = run("clean", "--uninstalled")
    assert done.exit_code == 0 and "removed 2 rows" in done.output, done.output


def test_rows_of_a_component_that_only_a_grid_has_stay(dpbench: Run) -> None:
    grid = '[grids.own]\nmethods = ["linear-look-MEAN"]\nepsilon = [10]\nclip = [1.0]\n'
    own = grid + '[grids.own.generators.MEAN]\nplugin = "mean"\nshift = 0.5\n'
    ran = dpbench("run", "--no-controls", "--grid", "own", extra=own)
    assert ran.exit_code == 0 and "not installed" not in ran.output
    assert "removed 0 rows" in dpbench("clean", "--uninstalled").output


@pytest.mark.parametrize("named", ["artifacts", "made_of"])
def test_strangers_rows_lead_to_nothing_outside(run: Run, named: str) -> None:
    outside = Path("mine")
    outside.mkdir()
    (outside / "meta.json").write_text("{}")
    row = load_results(Path("runs"))[0]
    file, away = Path("runs/results") / f"{row.key}.json", "../../../mine"
    if named == "artifacts":
        content = json.loads(file.read_text())
        content["artifacts"]["features"] = away
        file.write_text(json.dumps(content))
    else:
        path = Path("runs/artifacts/features") / row.artifacts["features"] / "meta.json"
        meta = json.loads(path.read_text())
        meta.pop("checksum")
        meta["made_of"][f"features/{away}"] = None
        path.write_text(json.dumps({**meta, "checksum": content_key(meta)}))
    done = run("clean", "--method", "*", "--unreachable")
    assert done.exit_code == 0, done.output
    assert outside.exists()


def test_the_table_of_a_csv_names_artifacts(run: Run) -> None:
    run("leaderboard", "--write", "leaderboard")
    with Path("leaderboard/results.csv").open(newline="") as file:
        assert all(row["artifacts.generator"] for row in csv.DictReader(file))

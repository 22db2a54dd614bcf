"""``dpbench score``: further metrics of what is trained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from dpbench.leaderboard import Written

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpbench.leaderboard.write_leaderboard", lambda *_: Written(()))


def results() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in Path("runs/results").iterdir()]


def test_a_metric_more_trains_nothing(dpbench: Run) -> None:
    assert dpbench("run").exit_code == 0
    trained = sorted(Path("runs/artifacts/generator").iterdir())
    result = dpbench("score", "--metrics", "kid, prdc")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.endswith(": done")]
    assert len(lines) == 5  # the trial and four controls
    said, command = result.output.splitlines()[-1].split(": ")
    assert said == "what was computed" and "--metric precision --metric recall" in command
    shown = dpbench(*command.removeprefix("dpbench ").split())
    assert shown.exit_code == 0 and "precision" in shown.output
    assert not any("trials: done" in line or "evaluator" in line for line in lines)
    assert sorted(Path("runs/artifacts/generator").iterdir()) == trained
    for one in results():
        assert {"fid", "brightness", "precision", "coverage"} <= set(one["metrics"])
        assert "kid" in one["metrics"] or "kid" in one["unavailable"]


def test_what_is_not_trained_is_left_out_with_a_note(dpbench: Run) -> None:
    dpbench("run", "--no-controls")
    result = dpbench("score", "--metrics", "prdc", "--seed", 0, "--seed", 1)
    assert result.exit_code == 0, result.output
    assert "not trained yet and left out: 1 trial (dpbench run)" in result.output
    trials = [one for one in results() if not one["method"].startswith("control:")]
    assert [one["seed"] for one in trials] == [0]
    assert "precision" in trials[0]["metrics"]


def test_a_figure_that_the_protocol_has_already_is_one_line(dpbench: Run) -> None:
    with Path("benchmarks.toml").open("a") as file:
        file.write('[metrics.near]\nplugin = "prdc"\nk = 3\n')
    result = dpbench("score", "--metrics", "prdc,near")
    assert result.exit_code == 2
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    assert line.startswith("Error: protocol default: 'prdc' and 'near' both give ")


def test_an_unknown_metric_is_one_line(dpbench: Run) -> None:
    result = dpbench("score", "--metrics", "prcd")
    assert result.exit_code == 2
    assert "unknown metric 'prcd'; did you mean 'prdc'?" in result.stderr


def test_without_metrics_it_says_so(dpbench: Run) -> None:
    result = dpbench("score")
    assert result.exit_code == 2
    assert "Missing option '--metrics'" in result.stderr


def test_before_any_run_nothing_is_trained(dpbench: Run) -> None:
    result = dpbench("score", "--metrics", "prdc")
    assert "not trained yet and left out: 1 trial" in result.output
    assert not Path("runs/artifacts/generator").exists()

"""Evaluators of third parties, from the configuration to the row."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result as Invoked
from fakes import TINY

from dpbench.planning.config import Config, InvalidConfig
from dpbench.results import load_results

Run = Callable[..., Invoked]

PIXELS = """
[protocols.pixels]
evaluator = "{name}"
samples = 64
metrics = ["fid", "is", "classes"]
[evaluators.fine]
plugin = "pixels"
side = 8
[evaluators.broken]
plugin = "pixels"
fault = "raises"
[evaluators.incomplete]
plugin = "pixels"
fault = "incomplete"
"""


def use(dpbench: Run, name: str) -> Invoked:
    return dpbench("run", "--protocol", "pixels", extra=PIXELS.format(name=name))


def evaluators() -> set[str]:
    """Return the names of what the store holds of evaluators."""
    return {path.name for path in Path("runs/artifacts/evaluator").iterdir()}


def test_a_trained_one_scores_a_grid_and_is_named_in_each_row(dpbench: Run) -> None:
    result = use(dpbench, "pixels")
    assert result.exit_code == 0, result.output
    rows = load_results(Path("runs"))
    assert {row.is_control for row in rows} == {True, False}
    for row in rows:
        assert row.protocol["evaluator"] == "pixels"
        assert row.protocol["network"] == "pictures of 4 x 4"
        assert len(row.protocol["weights_sha256"]) == 64
        assert row.metrics["fid"] >= 0
    assert "FID (pixels)" in result.output


def test_hyperparameters_make_another_evaluator_and_other_scores(dpbench: Run) -> None:
    use(dpbench, "pixels")
    before = evaluators()
    assert use(dpbench, "fine").exit_code == 0
    rows = load_results(Path("runs"))
    assert {row.protocol["network"] for row in rows} == {"pictures of 8 x 8"}
    assert before < evaluators()


def test_a_released_one_is_named_by_its_weights_and_needs_no_training(
    dpbench: Run, tmp_path: Path
) -> None:
    cache = tmp_path / "cache" / "dpbench"
    cache.mkdir(parents=True)
    weights = cache / "sum.bin"
    artifacts: list[set[str]] = []
    for scale in (1.0, 2.0):
        weights.write_bytes((scale * torch.arange(32.0)).numpy().tobytes())
        result = use(dpbench, "sum")
        assert result.exit_code == 0, result.output
        known = hashlib.sha256(weights.read_bytes()).hexdigest()
        assert {row.protocol["weights_sha256"] for row in load_results(Path("runs"))} == {known}
        artifacts.append(evaluators())
        assert use(dpbench, "sum").exit_code == 0
        assert evaluators() == artifacts[-1]
    assert len(artifacts[0]) < len(artifacts[1])


def test_missing_weights_are_one_line_before_anything_is_trained(dpbench: Run) -> None:
    result = use(dpbench, "sum")
    assert result.exit_code == 2
    assert "weights of evaluator 'sum' cannot be read" in result.stderr
    assert not Path("runs/artifacts/public").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "the evaluator broke"),
        ("incomplete", "is ready without weights_sha256, feature_dim, classes, network"),
    ],
)
def test_one_that_fails_costs_its_scores_and_says_why(dpbench: Run, name: str, reason: str) -> None:
    result = use(dpbench, name)
    assert result.exit_code == 1
    assert reason in result.output
    assert any(row.reason and reason in row.reason for row in load_results(Path("runs")))


def test_an_unknown_name_is_one_line_with_a_suggestion(configure: Callable[..., Config]) -> None:
    with pytest.raises(InvalidConfig) as caught:
        configure(PIXELS.format(name="pixel"))
    (line,) = str(caught.value).splitlines()[1:]
    assert "protocols.pixels.evaluator: unknown name 'pixel'; did you mean 'pixels'?" in line


def test_hyperparameters_are_checked_with_their_line(configure: Callable[..., Config]) -> None:
    with pytest.raises(InvalidConfig, match=r"evaluators\.domain\.epochs: .*got 0"):
        configure(base=TINY.replace("epochs = 4", "epochs = 0"))
    with pytest.raises(InvalidConfig, match=r"evaluators\.inception\.recipe: .*got 'mine'"):
        configure('[evaluators.inception]\nrecipe = "mine"\n')


def test_listing_plugins_does_not_load_the_canonical_network() -> None:
    code = "import sys; from dpbench.plugins import registry; registry(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torchvision", "pytorch_fid"} & set(done.stdout.split())

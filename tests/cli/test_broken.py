"""A plugin that cannot be loaded is named wherever it is missed, and what it prints stays away."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from leaderboard.fabricate import grid

from dpbench.results import save_result

Run = Callable[..., Result]
Distribution = Callable[..., Path]
WHY = "broken: dpbench-mine (dpbench_mine): ModuleNotFoundError: No module named 'no_such_package'"


@pytest.fixture
def mine(fakes: object, distribution: Distribution) -> None:
    distribution("dpbench-mine", code="import no_such_package")


def test_a_run_names_it_and_goes_on(mine: None, dpbench: Run) -> None:
    found = dpbench("run", "--dry-run")
    assert found.exit_code == 0, found.output
    assert WHY in found.stderr


def test_a_leaderboard_names_it(mine: None, dpbench: Run) -> None:
    for result in grid(seeds=1):
        save_result(Path("runs"), result)
    assert WHY in dpbench("leaderboard").stderr


def test_who_asks_for_its_method_is_told_why_there_is_none(mine: None, dpbench: Run) -> None:
    found = dpbench("run", "--grid", "*-Mine", "--dry-run")
    assert found.exit_code == 2
    assert WHY in found.stderr


def test_who_asks_for_it_by_name_is_told_too(mine: None, dpbench: Run) -> None:
    found = dpbench("check", "mine")
    assert found.exit_code == 2
    assert "unknown plugin or distribution 'mine'" in found.stderr
    assert WHY in found.stderr


def test_what_a_plugin_prints_while_it_is_loaded_is_not_in_the_output(
    distribution: Distribution, dpbench: Run
) -> None:
    distribution("dpbench-loud", code="print('I am here')\nfrom fakes import register_metrics")
    assert json.loads(dpbench("plugins", "--format", "json").stdout)["plugins"]

"""``dpbench config``: init, show, check."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dpbench.cli.main import cli
from dpbench.planning.config import load_config
from dpbench.plugins import registry

Run = Callable[..., Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli, ["config", *arguments])


def test_a_new_file_changes_nothing_until_it_is_edited(call: Run) -> None:
    before = load_config(None, registry()).file
    assert call("init").exit_code == 0
    text = Path("benchmarks.toml").read_text()
    assert tomllib.loads(text) == {}
    assert load_config(None, registry()).file == before
    edited = text.replace("# [", "[").replace("# extends", "extends").replace("# clip", "clip")
    Path("benchmarks.toml").write_text(edited)
    assert load_config(None, registry()).file.grids["mine"].epsilon == before.grids["all"].epsilon
    assert "# seconds = 14400" in text


def test_a_file_that_is_there_is_left_alone(call: Run) -> None:
    Path("benchmarks.toml").write_text("delta = 1e-5\n")
    result = call("init")
    assert result.exit_code == 2 and "is there already" in result.stderr
    assert Path("benchmarks.toml").read_text() == "delta = 1e-5\n"


def test_what_applies_is_a_configuration_that_says_the_same(call: Run) -> None:
    Path("benchmarks.toml").write_text('[generators.wide]\nplugin = "vae"\nhidden = [256]\n')
    shown = call("show")
    assert shown.exit_code == 0, shown.output
    Path("benchmarks.toml").write_text("packaged = false\n" + shown.stdout.replace("packaged", "#"))
    again = call("show")
    assert again.exit_code == 0, again.output
    assert shown.stdout.splitlines()[1:] == again.stdout.splitlines()[1:]


def test_a_part_is_shown_with_its_defaults(call: Run) -> None:
    Path("benchmarks.toml").write_text("[generators.vae]\nbatch = 9\n")
    (vae,) = tomllib.loads(call("show", "generators.vae").stdout)["generators"].values()
    assert (vae["batch"], vae["hidden"]) == (9, [128])
    shown = json.loads(call("show", "grids.all", "--format", "json").stdout)
    assert shown["grids"]["all"]["epsilon"][-1] == "Infinity"
    result = call("show", "generators.vea")
    assert result.exit_code == 2 and "did you mean 'vae'?" in result.stderr


def test_origins_name_the_file_that_has_the_last_word(call: Run) -> None:
    text = """
delta = 1e-5
[limits]
threads = 2
[generators.vae]
batch = 9
[grids.mine]
extends = "all"
clip = [3.0]
"""
    Path("benchmarks.toml").write_text(text)

    def origins(*arguments: str) -> dict[str, str]:
        lines = call("show", *arguments, "--origin").stdout.splitlines()
        pairs = (line.split("  # ") for line in lines if "  # " in line)
        return {left.partition(" =")[0]: right for left, right in pairs}

    mine, packaged = "benchmarks.toml", "benchmarks.toml (packaged)"
    assert origins("delta") == {"delta": mine}
    assert origins("limits") == {"seconds": packaged, "threads": mine}
    vae = origins("generators.vae")
    assert (vae["batch"], vae["hidden"]) == (mine, "default")
    grid = origins("grids.mine")
    assert (grid["clip"], grid["epsilon"]) == (mine, packaged)
    assert "seeds" not in grid  # nobody says them
    assert tomllib.loads(call("show", "--origin").stdout) == tomllib.loads(call("show").stdout)
    alone = "packaged = false\n" + call("show").stdout.replace("packaged", "#")
    Path("benchmarks.toml").write_text(alone)
    assert set(origins().values()) == {mine}
    result = call("show", "--origin", "--format", "json")
    assert result.exit_code == 2 and "leave --format out" in result.stderr


def test_check_counts_trials_or_lists_mistakes(call: Run) -> None:
    result = call("check")
    assert result.exit_code == 0
    assert "grid smoke: 6 trials of 6 methods" in result.stdout
    Path("benchmarks.toml").write_text("[grids.all]\nmethods = ['ae-enc-GNA']\nsed = [1]\n")
    result = call("check")
    assert result.exit_code == 2
    assert "line 3, grids.all.sed" in result.stderr

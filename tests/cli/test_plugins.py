"""``dpbench plugins``: what is registered, and what is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from dpbench.cli.main import cli


def test_json_lists_every_plugin_with_its_origin(fakes: object) -> None:
    result = CliRunner().invoke(cli, ["plugins", "--format", "json"])
    assert result.exit_code == 0
    listed = json.loads(result.stdout)
    assert listed["broken"] == []
    by_name = {(row["kind"], row["name"]): row for row in listed["plugins"]}
    assert by_name["public", "wgan"]["provides"] == ["decode", "prior"]
    assert by_name["extractor", "gradient"]["requires"] == ["decode", "encode"]
    assert by_name["metric", "fid"]["provides"] == ["fid", "fid_test"]
    mine = by_name["generator", "mean"]
    assert (mine["distribution"], mine["distribution_version"]) == ("dpbench-fakes", "1.0")
    assert by_name["dataset", "mnist"]["distribution"] == "dpbench"
    assert {kind for kind, _ in by_name} == {
        "dataset",
        "evaluator",
        "executor",
        "public",
        "extractor",
        "generator",
        "metric",
    }


def test_the_table_shows_the_same(fakes: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = CliRunner().invoke(cli, ["plugins"])
    assert result.exit_code == 0
    assert "dpbench-fakes 1.0" in result.output
    for name in ("projected-gradient", "wgan", "vae", "fashion-mnist", "brightness"):
        assert name in result.output


def test_a_broken_plugin_is_reported_and_the_others_listed(
    distribution: Callable[..., Path],
) -> None:
    distribution("dpbench-broken", code="import no_such_package")
    distribution("dpbench-fakes", fakes="fakes")
    table = CliRunner().invoke(cli, ["plugins"])
    assert table.exit_code == 0
    assert "broken: dpbench-broken (dpbench_broken): ModuleNotFoundError" in table.stderr
    assert "brightness" in table.stdout
    listed = json.loads(CliRunner().invoke(cli, ["plugins", "--format", "json"]).stdout)
    (broken,) = listed["broken"]
    assert broken["distribution"] == "dpbench-broken"
    assert any(row["name"] == "mean" for row in listed["plugins"])

"""What is noted of plugins spares readers of rows their loading, and is never out of date."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from leaderboard.fabricate import grid

from dpbench import described as module
from dpbench import plugins
from dpbench.described import Figure, described
from dpbench.planning.plan import Job
from dpbench.results import save_result
from dpbench.runner.scheduler import Progress
from dpbench.runner.status import Reporter

METRIC = """
from dpbench import hookimpl
from dpbench.api import Column, Metric

class Mine(Metric):
    name = "mine"
    columns = {{"mine": Column("higher", digits={digits}, title="my own")}}

    def compute(self, generated, references, context):
        return {{"mine": 1.0}}

@hookimpl
def register_metrics(register):
    register(Mine)
"""
READ = """
import sys
from click.testing import CliRunner
from dpbench import described
from dpbench.cli.main import cli

heavy = {"torch", "torchvision", "opacus", "matplotlib"}
kinds = "dataset public extractor generator metric evaluator executor".split()
figures = {"fid": described.Figure("lower")}
described._note(described.Described(dict.fromkeys(kinds, []), figures))
for line in (["leaderboard"], ["leaderboard", "--detail"], ["leaderboard", "--format", "csv"],
             ["status"], ["logs", *sys.argv[1:]], ["clean", "--grid", "x", "--dry-run"],
             ["compare", "runs", "runs"]):
    result = CliRunner().invoke(cli, line)
    assert result.exit_code == 0, (line, result.output)
    assert not heavy & set(sys.modules), line
"""


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Have the next description made from what is noted; return what was loaded instead."""
    loaded: list[str] = []
    load = plugins.load

    def counted(registry: plugins.Registry) -> plugins.Registry:
        loaded.append("once")
        return load(registry)

    monkeypatch.setattr(plugins, "load", counted)

    def times() -> list[str]:
        plugins.registry.cache_clear()
        module._noted_or_loaded.cache_clear()
        sys.modules.pop("dpbench_mine", None)
        loaded.clear()
        return loaded

    return times


def test_plugins_are_loaded_again_only_where_something_changed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    distribution: Callable[..., Path],
    unloaded: Callable[[], list[str]],
) -> None:
    monkeypatch.setattr(module, "_path", lambda: tmp_path / "noted.json")
    site = distribution("dpbench-mine", code=METRIC.format(digits=1))
    loaded = unloaded()
    assert described().figures["mine"] == Figure("higher", 1, "my own") and loaded
    first = described()
    noted = module._noted
    looked: list[str] = []

    def counted() -> module.Described | None:
        looked.append("once")
        return noted()

    monkeypatch.setattr(module, "_noted", counted)
    unloaded()
    assert described() == described() == first and looked == ["once"]
    monkeypatch.setattr(module, "_noted", noted)
    assert unloaded() == [] and described() == first and loaded == []

    path = site / "dpbench_mine.py"
    path.write_text(METRIC.format(digits=2))
    os.utime(path, ns=(0, 0))
    unloaded()
    assert described().figures["mine"].digits == 2 and loaded

    unloaded()
    monkeypatch.setenv(plugins.DISABLE_VARIABLE, "dpbench-mine")
    assert "mine" not in described().figures and loaded

    unloaded()
    (tmp_path / "noted.json").write_text("{")
    assert "fid" in described().figures and loaded


def test_a_broken_plugin_is_told_of_every_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    distribution: Callable[..., Path],
    unloaded: Callable[[], list[str]],
) -> None:
    monkeypatch.setattr(module, "_path", lambda: tmp_path / "noted.json")
    distribution("dpbench-mine", code="import no_such_package")
    for _ in range(2):
        loaded = unloaded()
        described()
        assert loaded
    assert not (tmp_path / "noted.json").exists()


def test_who_reads_rows_needs_no_torch(tmp_path: Path) -> None:
    rows = grid(seeds=2)
    for row in rows:
        save_result(tmp_path / "runs", row)
    Reporter(tmp_path / "runs", "dpbench run")(Progress(dict[str, Job]()))
    row = next(row for row in rows if row.clip and row.epsilon)
    trial = (f"{row.method}@{row.epsilon:g}", f"--clip={row.clip}")
    done = subprocess.run(
        [sys.executable, "-c", READ, *trial], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr

"""The code of the tutorials runs, passes the kit, and gives the rows that they promise."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from dpbench import plugins
from dpbench.new import make_package
from dpbench.plugin_files import FILES_VARIABLE
from dpbench.results import load_results
from dpbench.testing import check

DOCS = Path(__file__).parent.parent / "docs"
Run = Callable[..., Result]
Forget = Callable[[], None]


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILES_VARIABLE, "")


def require_kit(kind: str, name: str) -> None:
    report = check(plugins.registry().get(kind, name).cls)
    assert report.ok, report
    assert sum(result.outcome == "passed" for result in report.results) > 5


def test_your_first_generator(dpbench: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS.parent / "benchmarks")
    steps = importlib.import_module("first_plugin")
    root = make_package("mine", "generator", Path())
    before = (root / "dpbench_mine" / "__init__.py").read_text()
    after = steps.edited(before, (DOCS / "first-generator.md").read_text())
    assert 10 < steps.added(before, after) <= steps.MOST_LINES
    plugin = Path("mine.py")
    plugin.write_text(after)
    grid = ("--grid", "linear-look-*", "--method", "mine", "--plugin", plugin)
    result = dpbench("run", *grid, "--epsilon", 10, "--epsilon", "inf")
    assert result.exit_code == 0, result.output
    rows = {row.epsilon: row for row in load_results(Path("runs")) if not row.is_control}
    assert {row.method for row in rows.values()} == {"linear-look-Mine"}
    for row in rows.values():
        assert row.status == "ok" and row.privacy is not None
        assert row.privacy.ledger.trust == "ledger"
        assert row.privacy.replay is None or row.privacy.replay.verdict != "failed"
    require_kit("generator", "mine")


def test_your_first_metric(dpbench: Run) -> None:
    plugin = Path("ink.py")
    (code,) = re.findall(r"(?s)```python\n(.*?)```", (DOCS / "first-metric.md").read_text())
    plugin.write_text(code)
    assert dpbench("run").exit_code == 0
    result = dpbench("score", "--metrics", "ink", "--plugin", plugin)
    assert result.exit_code == 0, result.output
    shown = dpbench("leaderboard", "--format", "markdown", "--plugin", plugin).output
    assert "ink distance" in shown and "ink gap" in shown
    for row in load_results(Path("runs")):
        assert 0 <= row.metrics["ink_distance"] <= 255
        assert abs(row.metrics["ink_gap"]) <= row.metrics["ink_distance"] + 1
    require_kit("metric", "ink")


@pytest.mark.parametrize(("kind", "name"), [("extractor", "mirror"), ("evaluator", "rays")])
def test_examples_of_other_kinds(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Forget
) -> None:
    page = (DOCS / "plugins.md").read_text()
    (code,) = re.findall(rf"(?s)```python\n(# {name}\.py: .*?)```", page)
    plugin = tmp_path / f"{name}.py"
    plugin.write_text(code)
    monkeypatch.setenv(FILES_VARIABLE, str(plugin))
    forget()
    require_kit(kind, name)

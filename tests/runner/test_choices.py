"""Which trial stands for a method, and what that costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result as Invoked

from dpbench.results import Result, load_results

Run = Callable[..., Invoked]


def rows(dpbench: Run, select: str) -> dict[float, Result]:
    base = Path("benchmarks.toml")
    dpbench("plugins")  # writes the tiny grid
    base.write_text(f"select = {select}\n" + base.read_text().replace("clip = [1.0]", CLIPS))
    ran = dpbench("run", "--no-controls")
    assert ran.exit_code == 0, ran.output
    return {result.clip or 0.0: result for result in load_results(Path("runs"))}


CLIPS = "clip = [2.0, 1.0, 4.0]"


def test_scores_choose_unless_told_otherwise(dpbench: Run) -> None:
    assert {row.choice.rule for row in rows(dpbench, '"scores"').values()} == {"scores"}


@pytest.mark.parametrize(("select", "clip"), [('"first"', 2.0), ("4.0", 4.0)])
def test_a_stated_rule_chooses_and_costs_nothing(dpbench: Run, select: str, clip: float) -> None:
    found = rows(dpbench, select)
    assert [c for c, row in found.items() if row.choice.chosen] == [clip]
    assert all(row.choice.epsilon is None for row in found.values())


def test_a_noisy_choice_is_made_once_and_paid_for(dpbench: Run) -> None:
    found = rows(dpbench, '"noisy"')
    (chosen,) = (row for row in found.values() if row.choice.chosen)
    assert chosen.choice.epsilon is not None
    assert chosen.epsilon_spent is not None
    assert 1.5 * chosen.epsilon_spent < chosen.choice.epsilon < 3.1 * chosen.epsilon_spent
    kept = list(Path("runs/artifacts/choice").iterdir())
    assert dpbench("run", "--no-controls").exit_code == 0
    assert list(Path("runs/artifacts/choice").iterdir()) == kept
    again = {row.clip: row.choice for row in load_results(Path("runs"))}
    assert again == {clip: row.choice for clip, row in found.items()}


def test_an_unknown_rule_is_one_line(dpbench: Run) -> None:
    result = dpbench(
        "run", extra="[grids.x]\nclip = [1]\nepsilon = [1]\n", base='select = "best"\n'
    )
    assert result.exit_code == 2
    assert "select" in result.stderr

"""Which trial stands for a method, and what that costs."""

from __future__ import annotations

import shutil
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


@pytest.mark.parametrize(
    ("before", "after"), [('"scores"', '"first"'), ('"scores"', "4.0"), ("4.0", "1.0")]
)
def test_a_rule_stated_after_scores_were_seen_is_not_believed(
    dpbench: Run, before: str, after: str
) -> None:
    rows(dpbench, before)
    base = Path("benchmarks.toml")
    base.write_text(base.read_text().replace(f"select = {before}", f"select = {after}"))
    for _ in range(2):  # and does not become true by being said again
        again = dpbench("run", "--no-controls")
        assert "stated after scores of 1 method and target were seen" in again.output
        found = load_results(Path("runs"))
        assert {row.choice.rule for row in found} == {"scores"}
        assert not any(row.choice.chosen for row in found)


def test_a_reordered_grid_moves_no_choice(dpbench: Run) -> None:
    rows(dpbench, '"first"')
    base = Path("benchmarks.toml")
    base.write_text(base.read_text().replace(CLIPS, "clip = [4.0, 1.0]"))
    assert "stated after scores" in dpbench("run", "--no-controls").output
    assert {row.clip for row in load_results(Path("runs")) if row.choice.chosen} == {2.0}


def test_a_rule_stated_before_stays_believed(dpbench: Run) -> None:
    rows(dpbench, '"first"')
    for more in ([], ["--fresh"], ["--clip", 1.0], ["--seed", 1]):
        assert "stated after" not in dpbench("run", "--no-controls", *more).output
        chosen = {row.clip for row in load_results(Path("runs")) if row.choice.chosen}
        assert chosen == {2.0}


def test_a_rule_is_judged_by_the_rows_that_are_left(dpbench: Run) -> None:
    rows(dpbench, '"scores"')
    shutil.rmtree("runs/results")
    base = Path("benchmarks.toml")
    base.write_text(base.read_text().replace('select = "scores"', "select = 4.0"))
    assert "stated after" not in dpbench("run", "--no-controls").output
    assert {row.clip for row in load_results(Path("runs")) if row.choice.chosen} == {4.0}


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

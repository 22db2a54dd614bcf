"""Which trial stands for a method, and what that costs."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result as Invoked

from dpbench.privacy.accounting import compose
from dpbench.privacy.ledger import Mechanism
from dpbench.results import Result, load_results, rivals, selection

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


def stated(clip: float | None = None) -> list[float | None]:
    """Return epsilon with selection of what is chosen, by the statement of each."""
    known = load_results(Path("runs"))
    chosen = [row for row in known if row.choice.chosen and clip in (None, row.clip)]
    return [selection([row], rivals(known, row)).epsilon for row in chosen]


def spent(counts: int) -> float:
    """Compose all trainings in the directory and so many counts."""
    known = load_results(Path("runs"))
    made = [json.loads(p.read_text()) for p in Path("runs/artifacts/choice").glob("*/meta.json")]
    assert len(made) == counts
    noises = [Mechanism(name="count", noise_multiplier=m["noise_multiplier"]) for m in made]
    trained = [m for row in known if row.privacy for m in row.privacy.ledger.mechanisms]
    return compose([*trained, *noises], known[0].delta or 0.0).epsilon


def regrid(before: str, after: str) -> None:
    base = Path("benchmarks.toml")
    base.write_text(base.read_text().replace(before, after))


def test_a_noisy_choice_among_a_part_of_what_was_counted_stays_as_it_was(dpbench: Run) -> None:
    before = {c for c, row in rows(dpbench, '"noisy"').items() if row.choice.chosen}
    assert dpbench("run", "--no-controls", "--clip", 2.0, "--clip", 1.0).exit_code == 0
    assert {row.clip for row in load_results(Path("runs")) if row.choice.chosen} <= before
    assert stated() in ([pytest.approx(spent(1))], [])


def test_a_second_noisy_count_adds_up(dpbench: Run) -> None:
    rows(dpbench, '"noisy"')
    regrid(CLIPS, "clip = [2.0, 1.0, 4.0, 8.0]")
    assert dpbench("run", "--no-controls").exit_code == 0
    assert stated() == [pytest.approx(spent(2))]


def test_a_noisy_count_of_some_seeds_covers_no_others(dpbench: Run) -> None:
    rows(dpbench, '"noisy"')
    assert dpbench("run", "--no-controls", "--seed", 1).exit_code == 0
    spent(2)
    assert math.inf in stated()


def test_noisy_counts_after_exact_scores_cost_everything(dpbench: Run) -> None:
    rows(dpbench, '"scores"')
    regrid('select = "scores"', 'select = "noisy"')
    regrid(CLIPS, "clip = [2.0, 1.0]")
    again = dpbench("run", "--no-controls")
    assert "stated after scores of 1 method and target were seen" in again.output
    assert not any(row.choice.chosen for row in load_results(Path("runs")))


def test_other_hyperparameters_are_rivals_too(dpbench: Run) -> None:
    rows(dpbench, "1.0")
    grid = ROW.replace("clip = [1.0]", "clip = [0.5]") + "[grids.own.generators.MEAN]\n"
    with Path("benchmarks.toml").open("a") as file:
        file.write(grid + 'plugin = "mean"\nshift = 0.5\n')
    other = dpbench("run", "--no-controls", "--grid", "own", "--clip", 1.0)
    assert other.exit_code == 0, other.output
    assert len({row.settings for row in load_results(Path("runs"))}) == 2
    assert "stated after scores of 1 method and target were seen" in other.output
    for row in load_results(Path("runs")):
        if row.settings != "default":
            found = selection([row], rivals(load_results(Path("runs")), row))
            assert found.epsilon == math.inf


ROW = """
[grids.own]
methods = ["linear-look-MEAN"]
epsilon = [10]
clip = [1.0]
"""


def test_the_first_clip_may_be_named_on_the_command_line(dpbench: Run) -> None:
    dpbench("plugins")
    base = Path("benchmarks.toml")
    base.write_text('select = "first"\n' + base.read_text())
    ran = dpbench("run", "--no-controls", "--clip", 0.77, "--clip", 3.3)
    assert ran.exit_code == 0, ran.output
    assert {row.clip for row in load_results(Path("runs")) if row.choice.chosen} == {0.77}


def test_a_rule_is_of_the_grid_that_there_is(dpbench: Run) -> None:
    dpbench("plugins")
    base = Path("benchmarks.toml")
    base.write_text('select = "first"\n' + base.read_text().replace("[grids.all]", "[grids.mine]"))
    ran = dpbench("run", "--no-controls", "--grid", "linear-look-MEAN")
    assert ran.exit_code == 0, ran.output
    assert all(row.choice.chosen and row.grids == ("mine",) for row in load_results(Path("runs")))


@pytest.mark.parametrize("more", [("--grid", "own"), ("--protocol", "other")])
def test_what_is_not_shown_was_chosen_among_all_the_same(
    dpbench: Run, more: tuple[str, str]
) -> None:
    rows(dpbench, '"scores"')
    with Path("benchmarks.toml").open("a") as file:
        file.write(ROW + '[protocols.other]\nsamples = 32\nmetrics = ["fid"]\n')
    ran = dpbench("run", "--no-controls", "--clip", 1.0, *more)
    assert ran.exit_code == 0, ran.output
    shown = dpbench("leaderboard", *more, "--format", "json")
    found = json.loads(shown.stdout)
    assert [row["epsilon_with_selection"] for row in found] == ["inf"]


def test_an_unknown_rule_is_one_line(dpbench: Run) -> None:
    result = dpbench(
        "run", extra="[grids.x]\nclip = [1]\nepsilon = [1]\n", base='select = "best"\n'
    )
    assert result.exit_code == 2
    assert "select" in result.stderr

"""One screen: what a person sees after a run."""

from __future__ import annotations

import math

import pytest

from dpbench.leaderboard import Leaderboard, View
from dpbench.leaderboard.report import make_report
from dpbench.leaderboard.screen import screen_text
from dpbench.leaderboard.view import UnknownColumn
from dpbench.results import Result
from leaderboard.fabricate import INCEPTION, controls, grid, trial

LONG = "wgan-projected-gradient-Mixture"


def seen(results: list[Result], width: int = 100, view: View | None = None) -> list[str]:
    report = make_report(Leaderboard(tuple(results)))
    return screen_text(report, width, view or View()).splitlines()


def four_targets(methods: int) -> list[Result]:
    found = controls()
    for number in range(methods):
        for epsilon in (float("inf"), 10.0, 1.0, 0.2):
            name = f"ae-grad-Mixture{number:02}"
            found.append(trial(name, epsilon, fid=20.0 + 10 * number + 10 / epsilon))
    return found


@pytest.mark.parametrize("methods", [6, 12, 40])
def test_a_board_of_four_targets_is_one_screen(methods: int) -> None:
    lines = seen(four_targets(methods))
    assert len(lines) <= 19 and max(map(len, lines)) <= 100
    heads = next(line for line in lines if "ε = ∞" in line)
    assert heads.split() == ["ε", "=", "∞", "ε", "=", "10", "ε", "=", "1", "ε", "=", "0.2"]
    assert any("methods more: --detail" in line for line in lines) is (methods == 40)
    assert any(line.startswith("controls: real 2.1, reconstruction 35.2–41") for line in lines)


def test_two_parts_share_the_screen() -> None:
    rows = four_targets(12) + [
        r.model_copy(update={"protocol": INCEPTION}) for r in four_targets(12)
    ]
    lines = seen(rows)
    assert len(lines) <= 19
    assert sum("protocol canonical" in line or "protocol default" in line for line in lines) == 2


def test_no_line_is_spent_on_saying_that_one_method_is_left_out() -> None:
    """Three parts leave each so few lines that three rows are shown, and what is said of others."""
    other = {"protocol": INCEPTION}
    rows = [
        row.model_copy(update={"dataset": dataset, **more})
        for dataset, more in (("mnist", {}), ("fashion-mnist", {}), ("mnist", other))
        for row in four_targets(4)
    ]
    lines = seen(rows)
    assert sum("ae-grad-Mixture03" in line for line in lines) == 3
    assert not any("methods more" in line for line in lines)


def test_methods_with_fewer_seeds_are_named_where_they_fit() -> None:
    counts = {"ae-grad-GAN": 3, "ae-grad-VAE": 3, "ae-grad-PE": 2}
    rows = [trial(m, seed=s, fid=9.0 + s) for m, count in counts.items() for s in range(count)]
    (wide,) = (line for line in seen(rows) if line.startswith("#"))
    assert wide.endswith("(3 seeds; 2 seeds alone: ae-grad-PE; = shared rank)")
    (narrow,) = (line for line in seen(rows, width=80) if line.startswith("#"))
    assert len(narrow) <= 80 and "--detail" in narrow and "PE" not in narrow


def test_rows_stand_in_order_of_rank_with_ties_marked() -> None:
    rows = [trial("b", fid=50.0 + s, seed=s) for s in range(3)]
    rows += [trial("a", fid=90.0 + s, seed=s) for s in range(3)]
    rows += [trial("c", fid=f, seed=s) for s, f in enumerate((91.0, 90.0, 92.0))]
    lines = seen(rows)
    assert [line.split()[:3] for line in lines[3:6]] == [
        ["b", "1", "51.0"], ["a", "2=", "91.0"], ["c", "2=", "91.0"],
    ]  # fmt: skip
    assert any("3 seeds; = shared rank" in line for line in lines)


def test_what_failed_says_so_in_its_place_and_beneath() -> None:
    rows = [trial("a-GAN"), trial("b-GAN", fid=None, status="over-budget", reason="spent 12 of 10")]
    lines = seen(rows)
    assert any(line.split() == ["b-GAN", "over-budget"] for line in lines)
    assert any("not ranked: 1 over-budget; first: b-GAN; ε = 10" in line for line in lines)


def test_in_80_columns_names_and_figures_stay_whole() -> None:
    rows = [r.model_copy(update={"method": LONG}) if r.method.endswith("00") else r
            for r in four_targets(3)]  # fmt: skip
    lines = seen(rows, 80)
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith(LONG) for line in lines) == 2  # in two blocks
    assert not any("…" in line for line in lines)
    assert sum(line.count("ε = ") for line in lines) == 4


def test_figures_epsilons_and_order_are_chosen() -> None:
    view = View(("is", "private_share"), (1.0,), "method")
    lines = seen(grid(seeds=1), view=view)
    assert "IS (domain), called private" in lines[0]
    assert lines[1].split() == ["ε", "=", "1"]
    assert [line.split()[0] for line in lines[3:9]] == sorted(
        line.split()[0] for line in lines[3:9]
    )


def test_a_method_is_not_first_for_what_it_left_out() -> None:
    easy = [trial("easy", math.inf, metrics={"fid": 5.0, "is": 4.0})]
    whole = [
        trial(method, epsilon, metrics={"fid": fid, "is": score})
        for method, lift in (("whole", 0.0), ("better", 0.5))
        for epsilon, fid, score in ((math.inf, 4.0 - lift, 3.9 + lift), (1.0, 99.0, 1.0 + lift))
    ]
    for figure in ("fid", "is"):
        lines = seen([*easy, *whole], view=View(("fid", "is"), sort=figure))
        assert [line.split()[0] for line in lines[3:6]] == ["better", "whole", "easy"]


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (("fid", "kid"), "controls: real 2.1, reconstruction 35.2–41"),
        (("is", "fid"), "controls (FID (domain)): real 2.1, reconstruction 35.2–41"),
        (("kid", "private_share"), "controls (called private): real 0.99, reconstruction 0.99,"),
        (("kid",), "controls (FID (domain)): real 2.1"),
    ],
)
def test_controls_stand_with_the_figure_that_is_theirs(metrics: tuple[str, ...], said: str) -> None:
    lines = seen(grid(seeds=1), view=View(metrics))
    assert any(line.startswith(said) for line in lines)


def test_controls_on_two_lines_take_the_room_of_two() -> None:
    rows = [
        row.model_copy(update={"metrics": {**row.metrics, "private_share": 0.1234 + 0.01 * n}})
        for n, row in enumerate(four_targets(40))
    ]
    lines = seen(rows, view=View(("private_share",)))
    (first,) = (n for n, line in enumerate(lines) if line.startswith("controls (called private)"))
    assert "public-images" in lines[first + 1]
    assert len(lines) <= 19 and max(map(len, lines)) <= 100


@pytest.mark.parametrize("sort", ["rank", "fid"])
def test_a_method_is_not_first_for_what_it_alone_was_tried_at(sort: str) -> None:
    rows = [trial(f"m{place}", 10.0, fid=10.0 * place) for place in (1, 2, 3)]
    rows += [trial("m3", epsilon, fid=50.0) for epsilon in (3.0, 1.0)]
    lines = seen(rows, view=View(sort=sort))
    assert [line.split()[:2] for line in lines[3:6]] == [["m1", "1"], ["m2", "2"], ["m3", "3"]]
    alone = seen(rows, view=View(sort=sort, epsilons=(3.0,)))
    assert alone[3].split()[:2] == ["m3", "1"]


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (View(("fids",)), "did you mean 'fid'"),
        (View(sort="iss"), "did you mean 'is'"),
        (View(epsilons=(3.0,)), "no trial at ε = 3 (there are: 1, 10, inf)"),
    ],
)
def test_what_is_not_there_is_named(view: View, said: str) -> None:
    with pytest.raises(UnknownColumn) as error:
        view.check(Leaderboard(tuple(grid(seeds=1))).sections)
    assert said in str(error.value)

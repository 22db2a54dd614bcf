"""What moved between two runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from click.testing import CliRunner
from leaderboard.fabricate import DOMAIN, INCEPTION, trial

from dpbench.analysis.compare import compare
from dpbench.cli.main import cli
from dpbench.errors import DpbenchError
from dpbench.leaderboard import load, render
from dpbench.results import Result, save_result
from dpbench.submissions.verify import read_cells

SEEDS = range(5)
Keep = Callable[[str, Iterable[Result]], str]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    def save(name: str, results: Iterable[Result]) -> str:
        for result in results:
            save_result(tmp_path / name, result)
        return str(tmp_path / name)

    return save


def seeds(method: str, mean: float, step: float = 0.1) -> list[Result]:
    return [trial(method, fid=mean + step * (seed % 3), seed=seed) for seed in SEEDS]


def test_regressions_come_first_and_fail(keep: Keep) -> None:
    before = keep("a", [*seeds("ae-enc-GAN", 50), *seeds("ae-enc-VAE", 60), *seeds("wgan-GAN", 70)])
    after = keep(
        "b", [*seeds("ae-enc-GAN", 50), *seeds("ae-enc-VAE", 66, 0.2), *seeds("wgan-GAN", 60, 0.2)]
    )
    changes = compare(before, after, "fid", "lower")
    assert [(c.trial["method"], c.verdict) for c in changes] == [
        ("ae-enc-VAE", "worse"),
        ("wgan-GAN", "better"),
        ("ae-enc-GAN", "equal"),
    ]
    assert changes[0].ratio == pytest.approx(1.1, abs=0.01) and changes[0].seeds == 5
    told = CliRunner().invoke(cli, ["compare", before, after])
    assert told.exit_code == 1 and "1 surely worse, 1 surely better, 1 equal" in told.output
    assert CliRunner().invoke(cli, ["compare", before, before]).exit_code == 0
    shown = CliRunner().invoke(cli, ["compare", before, after, "--format", "json"])
    assert json.loads(shown.output)[0]["verdict"] == "worse"


def test_a_higher_figure_may_be_the_better_one(keep: Keep) -> None:
    def sharper(by: float) -> list[Result]:
        return [
            result.model_copy(update={"metrics": {"is": 3.5 + by * (1 + 0.01 * seed)}})
            for seed, result in enumerate(seeds("ae-enc-GAN", 50))
        ]

    (change,) = compare(keep("a", sharper(0.1)), keep("b", sharper(1.0)), "is", "higher")
    assert change.verdict == "better"


def test_one_seed_is_no_test(keep: Keep) -> None:
    before, after = keep("a", [trial(fid=50.0)]), keep("b", [trial(fid=500.0)])
    (change,) = compare(before, after, "fid", "lower")
    assert change.verdict == "untested"
    assert CliRunner().invoke(cli, ["compare", before, after]).exit_code == 0


def test_a_csv_is_as_good_as_the_directory(keep: Keep, tmp_path: Path) -> None:
    runs = keep("a", [*seeds("ae-enc-GAN", 50), trial("ae-enc-VAE", float("inf"), fid=9.0)])
    path = tmp_path / "results.csv"
    path.write_text(render(load(Path(runs)), "csv", "method"))
    changes = compare(runs, str(path), "fid", "lower")
    assert len(changes) == 2 and {c.verdict for c in changes} == {"equal"}


def test_a_csv_from_before_labels_has_none(keep: Keep, tmp_path: Path) -> None:
    runs = keep("a", seeds("ae-enc-GAN", 50))
    path = tmp_path / "results.csv"
    load(Path(runs)).frame.drop(columns="labels").to_csv(path)
    (change,) = compare(str(path), runs, "fid", "lower")
    assert change.verdict == "equal"


def test_names_that_read_as_numbers_are_names(keep: Keep, tmp_path: Path) -> None:
    protocol = {**DOMAIN, "name": "1e3"}
    runs = keep("a", [trial(dataset="2024", settings="01234567", protocol=protocol)])
    path = tmp_path / "results.csv"
    path.write_text(render(load(Path(runs)), "csv", "method"))
    (change,) = compare(runs, f"{path}:01234567", "fid", "lower")
    assert change.verdict == "equal" and change.trial["dataset"] == "2024"


def test_names_that_a_csv_keeps_from_spreadsheets_are_the_same_names(
    keep: Keep, tmp_path: Path
) -> None:
    names = ["=1+1-enc-GAN", "'=1+1-enc-GAN", "'quoted'-enc-GAN", "@x-enc-GAN"]
    runs = keep("a", [row for name in names for row in seeds(name, 50)])
    path = tmp_path / "results.csv"
    path.write_text(text := render(load(Path(runs)), "csv", "method"))
    assert "\n'=1+1-enc-GAN," in text and "\n'quoted'-enc-GAN," in text
    changes = compare(runs, str(path), "fid", "lower")
    assert {c.trial["method"] for c in changes} == set(names)
    assert {c.verdict for c in changes} == {"equal"}
    assert {cell.any["method"] for cell in read_cells(path)} == set(names)


def test_grids_of_one_run_are_compared(keep: Keep) -> None:
    plain = [r.model_copy(update={"grids": ("all",)}) for r in seeds("ae-enc-GAN", 50)]
    other = [
        r.model_copy(update={"grids": ("wide",), "settings": "0a1b2c3d"})
        for r in seeds("ae-enc-GAN", 40, 0.3)
    ]
    runs = keep("a", [*plain, *other])
    (change,) = compare(f"{runs}:all", f"{runs}:wide", "fid", "lower")
    assert change.verdict == "better"
    with pytest.raises(DpbenchError, match="no results of grid 'wild'"):
        compare(f"{runs}:all", f"{runs}:wild", "fid", "lower")


def test_labelled_and_unlabelled_runs_are_two_trials(keep: Keep) -> None:
    def both(labelled: float) -> list[Result]:
        return [
            *seeds("ae-enc-GAN", 50),
            *(r.model_copy(update={"labels": "private"}) for r in seeds("ae-enc-GAN", labelled)),
        ]

    before, after = keep("a", both(90)), keep("b", both(30))
    changes = compare(before, after, "fid", "lower")
    told = [(c.trial["labels"], c.seeds, round(c.before), c.verdict) for c in changes]
    assert told == [("private", 5, 90, "better"), ("none", 5, 50, "equal")]
    shown = CliRunner().invoke(cli, ["compare", before, after], env={"COLUMNS": "120"}).output
    assert "ae-enc-GAN@10 clip 1, labels = private" in shown


def test_what_a_given_noise_came_to_names_no_trial(keep: Keep) -> None:
    def noisy(epsilon: float) -> list[Result]:
        return [
            trial("ae-enc-GAN", epsilon, fid=50.0 + seed, seed=seed, noise_multiplier=1.5)
            for seed in SEEDS
        ]

    before, after = keep("a", noisy(3.0001)), keep("b", noisy(3.0002))
    (change,) = compare(before, after, "fid", "lower")
    assert (change.seeds, change.verdict) == (5, "equal")
    shown = CliRunner().invoke(cli, ["compare", before, after]).output
    assert "ae-enc-GAN@σ=1.5 clip 1" in shown


def swept(grid: str, settings: str, **means: float) -> list[Result]:
    """Return five seeds of each width that a grid sweeps: ``w64=50.0``."""
    return [
        result.model_copy(
            update={
                "axes": {"generators.gan.hidden": int(width[1:])},
                "settings": settings,
                "grids": (grid,),
            }
        )
        for width, mean in means.items()
        for result in seeds("ae-enc-GAN", mean)
    ]


def test_what_a_grid_sweeps_tells_its_trials_apart(keep: Keep) -> None:
    runs = keep(
        "a",
        [
            *swept("narrow", "0a1b2c3d", w64=50.0, w128=60.0),
            *swept("wide", "4e5f6a7b", w64=90.0, w128=60.0),
        ],
    )
    changes = compare(f"{runs}:narrow", f"{runs}:wide", "fid", "lower")
    told = [(c.trial["axes.generators.gan.hidden"], c.verdict) for c in changes]
    assert told == [(64, "worse"), (128, "equal")]
    command = ["compare", f"{runs}:narrow", f"{runs}:wide"]
    shown = CliRunner().invoke(cli, command, env={"COLUMNS": "120"}).output
    assert "ae-enc-GAN@10 clip 1, hidden = 64" in shown


def test_a_grid_of_several_settings_is_no_side(keep: Keep) -> None:
    runs = keep("a", [*swept("mine", "0a1b2c3d", w64=50.0), *swept("mine", "4e5f6a7b", w64=90.0)])
    with pytest.raises(DpbenchError, match=r"ae-enc-GAN with seed 0 twice.*0a1b2c3d, 4e5f6a7b"):
        compare(f"{runs}:mine", f"{runs}:mine", "fid", "lower")
    (change,) = compare(f"{runs}:0a1b2c3d", f"{runs}:4e5f6a7b", "fid", "lower")
    assert change.verdict == "worse"


def test_what_some_rows_lack_makes_no_protocol_another(keep: Keep, tmp_path: Path) -> None:
    drawn = {**DOMAIN, "seed": 5740740206829745733, "batch_size": 100}
    whole = [trial(fid=50.0 + seed, seed=seed, protocol=drawn) for seed in SEEDS]
    lost = trial(seed=9, status="failed", reason="it broke", protocol={"name": "default"})
    lost = lost.model_copy(update={"metrics": {}})
    before, after = keep("a", whole), keep("b", [*whole, lost])
    assert [c.verdict for c in compare(before, after, "fid", "lower")] == ["equal"]
    table = tmp_path / "rows.csv"
    table.write_text(render(load(Path(after)), "csv"))
    assert [c.verdict for c in compare(before, str(table), "fid", "lower")] == ["equal"]
    near = [trial(fid=50.0, protocol={**drawn, "seed": 5740740206829745734})]
    with pytest.raises(DpbenchError, match="seed 5740740206829745733 against 57407402068"):
        compare(before, keep("c", [*near, lost]), "fid", "lower")


def test_unlike_protocols_are_refused_and_their_difference_told(keep: Keep) -> None:
    before = keep("a", [trial(protocol=DOMAIN)])
    after = keep("b", [trial(protocol={**DOMAIN, "samples": 2048})])
    with pytest.raises(DpbenchError, match="samples 10000 against 2048"):
        compare(before, after, "fid", "lower")
    assert compare(before, after, "fid", "lower", across_protocols=True)
    elsewhere = keep("c", [trial(protocol=INCEPTION)])
    with pytest.raises(DpbenchError, match="no trial is in both"):
        compare(before, elsewhere, "fid", "lower")


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "\x00\xff"])
def test_what_is_no_table_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(content)
    with pytest.raises(DpbenchError, match=r"name a results\.csv"):
        compare(str(path), str(path), "fid", "lower")

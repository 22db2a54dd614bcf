"""``dpbench leaderboard`` as a user calls it."""

from __future__ import annotations

import csv
import gc
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from leaderboard.fabricate import INCEPTION, grid, trial
from rich.console import Console

from dpbench.cli.main import cli
from dpbench.leaderboard import Leaderboard, print_leaderboard
from dpbench.results import load_results, save_result


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for result in (*grid(seeds=1), *grid(seeds=1, protocol=INCEPTION, dataset="fashion-mnist")):
        save_result(tmp_path / "runs", result)
    return tmp_path / "runs"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["leaderboard", *map(str, arguments)])


def test_the_table(runs: Path) -> None:
    result = call("--runs", runs)
    assert result.exit_code == 0
    assert "mnist, default settings, protocol default" in result.stdout
    assert "FID (domain)" in result.stdout


def test_the_collector_is_left_as_it_was(runs: Path) -> None:
    call("--runs", runs)
    assert gc.get_freeze_count() == 0


def test_json_and_csv_are_all_there_is_on_stdout(runs: Path) -> None:
    (runs / "results" / "other.json").write_text('{"schema_version": 99}')
    result = call("--runs", runs, "--format", "json")
    records = json.loads(result.stdout)
    assert len(records) == 2 * (54 + 8)
    assert "left out" in result.stderr and "results/other.json: schema version 99" in result.stderr
    rows = list(csv.DictReader(io.StringIO(call("--runs", runs, "--format", "csv").stdout)))
    assert len(rows) == len(records)


def test_methods_are_found_by_component_and_grid(runs: Path) -> None:
    def found(*arguments: str) -> set[str]:
        records = json.loads(call("--runs", runs, "--format", "json", *arguments).stdout)
        return {r["method"] for r in records if not r["method"].startswith("control:")}

    assert found("--method", "vae") == {"ae-enc-VAE", "ae-grad-VAE", "wgan-VAE"}
    result = call("--runs", runs, "--method", "ae-enc-*", "--method", "wgan-VEA")
    assert result.exit_code == 2 and "did you mean 'wgan-VAE'?" in result.stderr
    result = call("--runs", runs, "--method", "vae[hidden=64]")
    assert result.exit_code == 2 and "not found by hyperparameters" in result.stderr
    result = call("--runs", runs, "--grid", "smoek")
    assert result.exit_code == 2 and "no results of grid 'smoek'" in result.stderr


def test_several_grids_are_shown_together(runs: Path) -> None:
    for result in load_results(runs):
        grids = {"vae": ("wide",), "gan": ("deep", "all")}.get(result.generator or "", ())
        save_result(runs, result.model_copy(update={"grids": grids}))

    def found(*names: str) -> set[str | None]:
        arguments = [part for name in names for part in ("--grid", name)]
        records = json.loads(call("--runs", runs, "--format", "json", *arguments).stdout)
        return {r["generator"] for r in records if not r["method"].startswith("control:")}

    assert found("wide") == {"vae"} and found("deep") == {"gan"}
    assert found("deep", "wide") == {"gan", "vae"}


def test_filters_keep_the_controls_beside_what_they_keep(runs: Path) -> None:
    arguments = ("--dataset", "mnist", "--method", "AE-enc-*", "--format", "json")
    records = json.loads(call("--runs", runs, *arguments).stdout)
    assert {r["dataset"] for r in records} == {"mnist"}
    trials = {r["method"] for r in records if not r["method"].startswith("control:")}
    assert trials == {"ae-enc-GAN", "ae-enc-VAE"}
    controls = sorted(r["method"] for r in records if r["method"].startswith("control:"))
    assert controls == [
        "control:public-images", "control:public-prior", "control:real", "control:reconstruction",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--dataset", "mnits", "did you mean 'mnist'?"),
        ("--protocol", "canonicl", "did you mean 'canonical'?"),
        ("--settings", "paper", "there are: default"),
        ("--method", "ae-enc-GNA", "did you mean 'ae-enc-GAN'?"),
    ],
)
def test_a_filter_that_keeps_nothing_is_one_line(
    runs: Path, option: str, value: str, expected: str
) -> None:
    result = call("--runs", runs, option, value)
    assert result.exit_code == 2
    assert expected in result.stderr and len(result.stderr.splitlines()) == 1


def test_settings_are_found_by_the_name_of_a_grid_too(runs: Path) -> None:
    save_result(runs, trial(settings="1a2b3c4d", grids=("wide",)))
    for wanted in ("1a2b3c4d", "wide"):
        records = json.loads(call("--runs", runs, "--settings", wanted, "--format", "json").stdout)
        assert [record["settings"] for record in records] == ["1a2b3c4d"]


def test_no_results_is_one_line_with_the_remedy(tmp_path: Path) -> None:
    result = call("--runs", tmp_path)
    assert result.exit_code == 2
    assert "dpbench run --grid smoke" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_write_leaves_stdout_to_the_format(runs: Path, tmp_path: Path) -> None:
    target = tmp_path / "board"
    result = call("--runs", runs, "--dataset", "mnist", "--format", "json", "--write", target)
    json.loads(result.stdout)
    assert "wrote 4 files" in result.stderr
    assert (target / "index.html").exists()


def test_by_clip(runs: Path) -> None:
    text = call("--runs", runs, "--by", "clip", "--dataset", "mnist").stdout
    assert text.count("ae-enc-GAN") == 9


def test_printing_to_a_narrow_terminal_and_to_a_file() -> None:
    for terminal, width in ((True, 90), (False, 120)):
        output = io.StringIO()
        console = Console(file=output, width=90, force_terminal=terminal, color_system=None)
        print_leaderboard(Leaderboard(tuple(grid(seeds=1))), console)
        assert max(map(len, output.getvalue().splitlines())) <= width


def test_help_needs_no_torch_and_little_time() -> None:
    code = (
        "import sys; from dpbench.cli.main import cli\n"
        "cli(['leaderboard', '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert time.perf_counter() - started < 5  # a quarter of a second on a quiet machine


def test_by_seed_numbers_rows_and_by_axis_shows_its_values(runs: Path) -> None:
    for value in ("relu", "tanh"):
        save_result(runs, trial("x-GAN", axes={"generator.activation": value}))
    text = call("--runs", runs, "--by", "activation", "--method", "x-GAN").stdout
    assert "relu" in text and "tanh" in text
    save_result(runs, trial("x-GAN", settings="1a2b"))
    whole = call("--runs", runs, "--by", "activation").stdout
    assert "default settings" in whole and "1a2b" not in whole
    rows = [line.split() for line in call("--runs", runs, "--by", "seed").stdout.splitlines()]
    numbers = [int(row[0]) for row in rows if row and row[0].isdigit()]
    assert len(numbers) == len(set(numbers)) == 2 * 54 + 3
    wrong = call("--runs", runs, "--by", "activaton")
    assert wrong.exit_code == 2 and "did you mean 'activation'" in wrong.stderr


def test_one_screen_says_where_the_rest_is_and_quiet_does_not(runs: Path) -> None:
    lines = call("--runs", runs).stdout.splitlines()
    assert len(lines) <= 24
    assert "dpbench show" in lines[-1] and "dpbench open" in lines[-1]
    quiet = call("--runs", runs, "--quiet", "--dataset", "mnist").stdout.splitlines()
    assert len(quiet) == 3 + 6


def test_in_detail_everything_is_there(runs: Path) -> None:
    text = call("--runs", runs, "--detail").stdout
    assert "What it is" in text or "what it is" in text
    assert "The chosen trials and what they cost" in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--format json --epsilon 1", "--epsilon: no effect with --format json"),
        ("--detail --metric is --sort is --quiet", "--metric, --sort, --quiet: no effect with --d"),
        ("--by clip --epsilon 1", "--epsilon: no effect with --by"),
        ("--format csv --width 80", "--width: no effect with --format csv"),
        ("--format json --quiet", "--quiet: no effect with --format json"),
    ],
)
def test_an_option_without_effect_is_refused(runs: Path, options: str, told: str) -> None:
    result = call("--runs", runs, *options.split())
    assert result.exit_code == 2 and told in result.stderr and not result.stdout


def test_what_is_written_keeps_to_the_options_that_what_is_printed_has_not(
    runs: Path, tmp_path: Path
) -> None:
    view = ("--dataset", "mnist", "--metric", "is", "--epsilon", 1, "--sort", "is")
    for style in (("--detail",), ("--format", "csv")):
        assert call("--runs", runs, *view, *style, "--write", tmp_path / "out").exit_code == 0
        table = (tmp_path / "out" / "README.md").read_text()
        assert "ε = 1<br>IS" in table and "ε = 10<br>" not in table

"""A third party's rows are run again, and what came of it stands beside them and on the page."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result as Invoked
from leaderboard.fabricate import DOMAIN, trial

from dpbench.leaderboard import Leaderboard, render, write_board
from dpbench.results import Result, load_results, save_result
from dpbench.submissions import environment
from dpbench.submissions.environment import Environment
from dpbench.submissions.file import read_submission
from dpbench.submissions.verify import Cell, choose, read_cells

Run = Callable[..., Invoked]
FILE = Path("board/submissions/mine.toml")
PASSED = [{"plugin": "mine", "kind": "generator", "ok": True, "results": []}]
TRIALS = [trial("ae-grad-Mine", epsilon, clip=1.0) for epsilon in (10.0, math.inf)]
FAILED = {"check": "is-reproducible", "outcome": "failed", "reason": "two fits differ"}


@dataclass
class Package:
    """What a third party's package does: ``plugins`` pass, ``trials`` come out.

    With ``run``, trials are really run, in this process.
    """

    plugins: list[dict[str, Any]]
    trials: list[Result]
    run: Run | None = None


@dataclass(frozen=True)
class Installed(Environment):
    """A package without an interpreter."""

    package: Package

    def dpbench(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = partial(subprocess.CompletedProcess[str], arguments)
        if arguments[0] == "check":
            return done(0, json.dumps(self.package.plugins), "")
        if self.package.run is not None:
            ran = self.package.run(*arguments)
            return done(ran.exit_code, ran.stdout, ran.stderr)
        (runs,) = (a.removeprefix("--runs=") for a in arguments if a.startswith("--runs="))
        for result in self.package.trials:
            save_result(Path(runs), result)
        return done(0, "", "")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package that gives what was submitted, and installs without pip."""
    found = Package(list(PASSED), list(TRIALS))

    def make(package: Path, folder: Path, distribution: str) -> Environment:
        assert (package / "pyproject.toml").read_text() == "[project]"
        return Installed(Path("python"), folder, distribution, found)

    monkeypatch.setattr(environment, "fresh", make)
    return found


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def verify(dpbench: Run, package: Package) -> Run:
    """Submit two trials from a repository; return what verifies them."""
    for folder in ("repository/package", FILE.parent):
        Path(folder).mkdir(parents=True)
    Path("repository/package/pyproject.toml").write_text("[project]")
    git("init", "--quiet", "repository")
    git("-C", "repository", "add", ".")
    git("-C", "repository", "commit", "--quiet", "-m", "one")
    submit()
    submit_rows(TRIALS)
    return lambda *more: dpbench("verify", FILE, *more)


def submit(**changes: str) -> None:
    """Write the submission, with ``changes`` to its lines; an empty one leaves a line out."""
    lines = {
        "distribution": '"dpbench-mine"',
        "repository": '"../../repository"',
        "commit": f'"{git("-C", "repository", "rev-parse", "HEAD")}"',
        "subdirectory": '"package"',
        "grid": '["ae-grad-Mine"]',
        "results": '"mine.csv"',
        **changes,
    }
    FILE.write_text("\n".join(f"{key} = {value}" for key, value in lines.items() if value))


def submit_rows(results: list[Result]) -> None:
    FILE.with_suffix(".csv").write_text(render(Leaderboard(tuple(results)), "csv"))


def shown() -> tuple[str, str]:
    """Return the written page and README."""
    write_board(Leaderboard(tuple(TRIALS)), Path("board"))
    return Path("board/index.html").read_text(), Path("board/README.md").read_text()


def test_rows_that_nobody_runs_again_are_refused(verify: Run) -> None:
    rows = FILE.with_suffix(".csv")
    head, *lines = rows.read_text().splitlines()
    rows.write_text("\n".join([head, *lines, lines[0]]) + "\n")
    twice = verify()
    assert twice.exit_code == 2 and "two rows of mnist, ae-grad-Mine@" in twice.output
    made_up = lines[0].replace("ae-grad-Mine", "control:ae-grad-Mine", 1)
    rows.write_text("\n".join([head, *lines, made_up]) + "\n")
    control = verify()
    assert control.exit_code == 2 and "control:ae-grad-Mine is no control" in control.output


def test_no_byte_of_the_rows_passes_for_one_of_the_file(verify: Run) -> None:
    rows = FILE.with_suffix(".csv")
    rows.write_text("# a comment\n" + rows.read_text())
    before = read_submission(FILE).digest
    FILE.write_text(FILE.read_text() + "# a comment\n")
    rows.write_text(rows.read_text().removeprefix("# a comment\n"))
    assert read_submission(FILE).digest != before


def test_a_verdict_on_no_cell_is_none(verify: Run) -> None:
    assert verify().exit_code == 0
    path = FILE.with_name("mine.verdict.json")
    verdict = json.loads(path.read_text())
    assert read_submission(FILE).verdict is not None
    path.write_text(json.dumps({**verdict, "cells": []}))
    assert read_submission(FILE).verdict is None


def test_rows_that_come_out_the_same_are_verified_until_they_change(
    verify: Run,
) -> None:
    assert all("submitted" in text for text in shown())
    done = verify()
    assert done.exit_code == 0, done.output
    assert "verified: 1 of 2 cells run again" in done.output
    for text in shown():
        assert "verified" in text and "1 of 2 cells" in text and "../../repository" in text
    submit_rows([trial("ae-grad-Mine", clip=1.0, fid=101.0)])
    assert read_submission(FILE).verdict is None
    assert "1 of 2 cells" not in shown()[1]


@pytest.mark.parametrize(
    ("changes", "status", "why"),
    [
        ({"fid": 102.0}, "reproduced", "2 of 2 cells"),
        ({"fid": 134.0}, "reproduced", "2 of 2 cells"),
        ({"fid": 136.0}, "not", "FID is 1.36 of the submitted one on average over 2 cells"),
        ({"fid": 200.0}, "not", "FID 200 where 100 was submitted"),
        ({"fid": None}, "not", "FID none where 100 was submitted"),
        ({"epsilon_spent": 12.0}, "not", "spent ε"),
        ({"status": "collapsed"}, "not", "status collapsed where ok was submitted"),
        ({"status": "failed", "reason": "it raised"}, "not", "status failed (it raised)"),
        ({"clip": 2.0}, "not", "there is no such trial"),
    ],
)
def test_other_rows_are_reproduced_or_not(
    verify: Run, package: Package, changes: dict[str, Any], status: str, why: str
) -> None:
    package.trials = [trial("ae-grad-Mine", r.epsilon, **{"clip": 1.0, **changes}) for r in TRIALS]
    done = verify("--share", 1)
    assert done.exit_code == (status == "not"), done.output
    assert f"\n{status}: " in done.output and why in done.output
    verdict = read_submission(FILE).verdict
    assert verdict is not None
    assert verdict.status == status and len(verdict.cells) == 2


def test_nobody_knows_beforehand_which_cells_are_run(verify: Run, package: Package) -> None:
    package.trials = [trial("ae-grad-Mine", clip=1.0, seed=seed) for seed in range(40)]
    submit_rows(package.trials)

    def chosen(*more: object) -> tuple[list[str], int]:
        assert verify(*more).exit_code == 0
        verdict = read_submission(FILE).verdict
        assert verdict is not None
        return [cell.trial for cell in verdict.cells], verdict.seed

    first, seed = chosen()
    assert seed != chosen()[1]
    assert chosen("--seed", seed) == (first, seed)


def test_many_cells_may_scatter_more_than_their_average(verify: Run, package: Package) -> None:
    submit_rows([trial("ae-grad-Mine", clip=1.0, seed=seed, fid=100.0) for seed in range(16)])

    def judged(low: float, high: float) -> str:
        figures = [low, high] * 8
        package.trials = [
            trial("ae-grad-Mine", clip=1.0, seed=seed, fid=fid) for seed, fid in enumerate(figures)
        ]
        verify("--share", 1)
        verdict = read_submission(FILE).verdict
        assert verdict is not None
        return verdict.status

    assert judged(75.0, 130.0) == "reproduced"
    assert judged(116.0, 118.0) == judged(83.0, 85.0) == "not"


def test_a_figure_that_did_not_come_back_is_not_verified(verify: Run) -> None:
    submit_rows([r.model_copy(update={"metrics": {**r.metrics, "accuracy": 0.99}}) for r in TRIALS])
    done = verify("--share", 1)
    assert done.exit_code == 0, done.output
    assert "\nreproduced: 2 of 2 cells run again; not verified: accuracy\n" in done.output
    verdict = read_submission(FILE).verdict
    assert verdict is not None and verdict.status == "reproduced"
    assert all("not verified: accuracy" in text for text in shown())


def test_a_figure_that_was_not_submitted_is_no_matter(verify: Run, package: Package) -> None:
    more = {"metrics": {**TRIALS[0].metrics, "accuracy": 0.99}}
    third = trial("ae-grad-Mine", clip=2.0).model_copy(update=more)
    submit_rows([*TRIALS, third])  # there is a column, which is empty in two rows
    package.trials = [*(row.model_copy(update=more) for row in TRIALS), third]
    assert "\nverified: 3 of 3 cells run again\n" in verify("--share", 1).output


def test_names_that_read_as_numbers_are_names(verify: Run, package: Package) -> None:
    protocol = {**DOMAIN, "name": "007"}
    package.trials = [trial("ae-grad-Mine", clip=1.0, dataset="2024", protocol=protocol)]
    submit_rows(package.trials)
    (cell,) = read_cells(FILE.with_suffix(".csv"))
    assert {"--dataset=2024", "--protocol=007"} < {*cell.command(["all"], Path("runs"))}
    assert "2024, ae-grad-Mine@10, clip 1, seed 0: FID 100 (007; " in verify().output


def test_what_should_be_a_number_and_is_none_is_one_line(verify: Run) -> None:
    file = FILE.with_suffix(".csv")
    file.write_text(file.read_text().replace(",100.0,", ",much,"))
    assert_one_line(verify(), "cannot read board/submissions/mine.csv (could not convert")


def test_a_package_that_fails_its_checks_is_not_run(verify: Run, package: Package) -> None:
    package.plugins = [{**PASSED[0], "ok": False, "results": [FAILED]}]
    done = verify()
    assert done.exit_code == 1
    said = "not: dpbench check: generator mine: is-reproducible: two fits differ"
    assert said in done.stdout.splitlines()
    assert "two fits differ" in shown()[0]


def test_rows_of_other_packages_are_refused(verify: Run, package: Package) -> None:
    package.plugins = [{**PASSED[0], "plugin": "another"}]
    assert_one_line(verify(), "ae-grad-Mine has no part of dpbench-mine")


def test_cells_are_run_as_they_were_submitted(verify: Run, package: Package, dpbench: Run) -> None:
    assert dpbench("run", "--no-controls").exit_code == 0
    submit(grid='["linear-look-MEAN"]')
    submit_rows(load_results(Path("runs")))
    package.plugins, package.run = [{**PASSED[0], "plugin": "mean"}], dpbench
    assert verify("--runs", "again").exit_code == 0
    verdict = read_submission(FILE).verdict
    assert verdict is not None and verdict.status == "verified"
    assert load_results(Path("again"))[0].key == load_results(Path("runs"))[0].key
    with Path("benchmarks.toml").open("a") as file:
        file.write('[generators.mean]\nfault = "raises"\n')
    done = verify()
    assert done.exit_code == 1
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("not: "))
    assert "status failed (RuntimeError: the generator broke" in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commit": '"main"'}, "all 40 hexadecimal digits"),
        ({"commit": f'"{"0" * 40}"'}, "has no commit 000000000000"),
        ({"repository": '"../nowhere"'}, "cannot clone"),
        ({"repository": '"--upload-pack=x"'}, "an address that git takes"),
        ({"repository": '"ext::sh -c x"'}, "an address that git takes"),
        ({"repository": '"ext::x"'}, "cannot clone"),
        ({"subdirectory": '"elsewhere"'}, "has no pyproject.toml in 'elsewhere'"),
        ({"subdirectory": '"../../.."'}, "has no pyproject.toml in '../../..'"),
        ({"grid": ""}, "grid: field required; write what was run"),
        ({"grid": "["}, "is not TOML"),
        ({"colour": '"red"'}, "colour: unknown key"),
        ({"results": '"none.csv"'}, "there is no none.csv beside it"),
        ({"results": '"mine.toml"'}, "has no column method"),
    ],
)
def test_a_fault_is_one_line(verify: Run, changes: dict[str, str], message: str) -> None:
    submit(**changes)
    assert_one_line(verify(), message)
    assert not list(FILE.parent.glob("*.json"))


def test_a_submission_that_cannot_be_read_is_named_on_the_page(verify: Run) -> None:
    submit(commit='"main"')
    page, readme = shown()
    assert "submissions/mine.toml" in page and "submissions/mine.toml" in readme


def assert_one_line(done: Invoked, message: str) -> None:
    assert done.exit_code == 2, done.output
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
    assert message in line
    assert "Traceback" not in done.output


def test_the_choice_is_seeded_and_of_one_cell_at_least() -> None:
    cells = [Cell({"default": {"number": number}}) for number in range(60)]
    first = choose(cells, 0.1, seed=0)
    assert len(first) == 6
    assert first == choose(cells, 0.1, seed=0) != choose(cells, 0.1, seed=1)
    assert len(choose(cells[:3], 0.1, seed=0)) == 1
    assert choose(cells, 1, seed=0) == cells


def test_what_is_registered_here_has_a_verdict_on_these_very_rows() -> None:
    folder = Path(__file__).parents[2] / "leaderboard" / "submissions"
    for path in folder.glob("*.toml"):
        verdict = read_submission(path).verdict
        assert verdict is not None, f"dpbench verify {path}"
        assert verdict.status in ("verified", "reproduced")


def test_no_token_comes_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    printer = tmp_path / "python"
    printer.write_text("#!/bin/sh\nenv")
    printer.chmod(0o755)
    said = Environment(printer, tmp_path, "mine").dpbench("check").stdout
    assert "DPBENCH_PLUGINS=mine" in said and "PATH=" in said
    assert "secret" not in said and "PYTHONPATH" not in said

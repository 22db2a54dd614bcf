"""``dpbench run`` as a user sees it: output, exit codes, what lies in the runs directory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from click.testing import Result
from fakes import TINY
from leaderboard.fabricate import audit

from dpbench.leaderboard import Written
from dpbench.metrics.evaluators.weights import WeightsError
from dpbench.privacy.accounting import compose
from dpbench.privacy.ledger import Mechanism
from dpbench.results import load_results, save_audit

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes seconds a run, and has tests of its own."""

    def write(runs: Path, directory: Path) -> Written:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "README.md").write_text("written")
        return Written((directory / "README.md",))

    monkeypatch.setattr("dpbench.leaderboard.write_leaderboard", write)


def one_line(result: Result) -> str:
    """Return the error's line, having checked that there is just one, and the exit code 2."""
    assert result.exit_code == 2, result.output
    errors = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(errors) == 1, errors
    assert errors[0].startswith("Error: ")
    return errors[0]


def test_a_run_shows_plan_progress_and_leaderboard(dpbench: Run) -> None:
    result = dpbench("run")
    assert result.exit_code == 0, result.output
    for words in (
        "1 trial of 1 method: linear-look-MEAN",
        "to compute",
        "linear on tiny: done",
        "control real: done",
        "control reconstruction linear-look: done",
        "linear-look-MEAN",
        "1 ok. Leaderboard in runs/leaderboard/",
    ):
        assert words in result.output
    assert Path("runs/leaderboard/README.md").exists()
    assert len(list(Path("runs/results").iterdir())) == 5
    (run,) = json.loads(Path("runs/history.json").read_text())
    assert {"command", "versions", "wall_seconds", "finished"} <= set(run)


def test_the_second_run_says_that_nothing_is_to_be_done(dpbench: Run) -> None:
    dpbench("run", "--no-controls")
    result = dpbench("run", "--no-controls")
    assert result.exit_code == 0
    assert "Everything is cached: nothing to compute." in result.output
    assert ": done" not in result.output
    assert "linear-look-MEAN" in result.output


def test_a_dry_run_leaves_no_results(dpbench: Run) -> None:
    result = dpbench("run", "--dry-run", "--seed", 0, "--seed", 1)
    assert result.exit_code == 0
    assert "2 trials of 1 method" in result.output
    assert ": done" not in result.output
    assert not Path("runs").exists()


def test_a_plan_of_many_methods_stays_on_a_screen(dpbench: Run) -> None:
    extra = "".join(f'[generators.m{n:02}]\nplugin = "mean"\n' for n in range(30))
    result = dpbench("run", "--dry-run", "--grid", "linear-look-m*", extra=extra)
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert "of 31 methods: linear-look-MEAN, linear-look-m00, " in words
    assert "linear-look-m22, and 7 more" in words and "linear-look-m23" not in words


def test_a_dry_run_shows_what_is_cached(dpbench: Run) -> None:
    dpbench("run", "--no-controls")
    result = dpbench("run", "--no-controls", "--dry-run", "--epsilon", 10, "--epsilon", 1)
    (row,) = [line for line in result.output.splitlines() if "private generators" in line]
    assert row.replace("│", " ").split()[-2:] == ["1", "1"]


def test_a_dry_run_with_fresh_removes_nothing(dpbench: Run) -> None:
    dpbench("run", "--no-controls")
    assert dpbench("run", "--no-controls", "--fresh", "--dry-run").exit_code == 0
    assert "Everything is cached" in dpbench("run", "--no-controls", "--dry-run").output


def test_a_second_secure_release_is_told_and_kept(dpbench: Run) -> None:
    secure = TINY.replace("delta = 1e-4", "delta = 1e-4\nsecure_rng = true")
    assert "adds up" not in dpbench("run", "--no-controls", base=secure).output
    result = dpbench("run", "--no-controls", "--fresh")
    assert result.exit_code == 0, result.output
    assert "1 private generator to be learnt a second time with new noise" in result.output
    (row,) = load_results(Path("runs"))
    assert row.privacy is not None and len(row.privacy.ledger.mechanisms) == 2
    alone = compose(row.privacy.ledger.mechanisms[:1], 1e-4).epsilon
    assert 1.2 * alone < (row.epsilon_spent or 0.0) < 2 * alone
    noted = json.loads(Path("runs/releases.json").read_text())
    assert len(noted) == 2
    assert all(one["spent"]["epsilon"] > 0 and one["ledger"]["mechanisms"] for one in noted)


def test_a_second_secure_release_by_another_configuration_adds_up_too(dpbench: Run) -> None:
    secure = TINY.replace("delta = 1e-4", "delta = 1e-4\nsecure_rng = true")
    assert dpbench("run", "--no-controls", base=secure).exit_code == 0
    (before,) = load_results(Path("runs"))
    config = Path("benchmarks.toml")
    config.write_text(config.read_text().replace("public_images = 100", "public_images = 90"))
    told = dpbench("run", "--no-controls").output
    assert "1 private generator to be learnt a second time with new noise" in told
    for _ in range(2):  # and once more nothing is learnt
        (row,) = load_results(Path("runs"))
        assert row.privacy is not None and len(row.privacy.ledger.mechanisms) == 2
        assert (row.epsilon_spent or 0.0) > 1.2 * (before.epsilon_spent or 0.0)
        assert "second time" not in dpbench("run", "--no-controls").output


def test_a_second_secure_release_may_be_more_than_the_budget(dpbench: Run) -> None:
    secure = TINY.replace("delta = 1e-4", "delta = 1e-4\nsecure_rng = true")
    alone = compose([Mechanism(name="mean", noise_multiplier=100.0)], 1e-4).epsilon
    once = ["run", "--no-controls", "--epsilon", 1.1 * alone]
    assert dpbench(*once, base=secure).exit_code == 0
    assert dpbench(*once, "--fresh").exit_code == 1
    (row,) = load_results(Path("runs"))
    assert row.status == "over-budget"
    assert row.reason is not None and "in 2 releases" in row.reason


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_release_whose_spending_is_lost_is_not_made_again(dpbench: Run, how: str) -> None:
    secure = TINY.replace("delta = 1e-4", "delta = 1e-4\nsecure_rng = true")
    assert dpbench("run", "--no-controls", base=secure).exit_code == 0
    (generator,) = Path("runs/artifacts/generator").iterdir()
    Path("runs/releases.json").unlink()
    if how == "gone":
        shutil.rmtree(generator)
    else:
        (generator / "meta.json").write_text("{}")
    refused = dpbench("run", "--no-controls")
    assert refused.exit_code == 2
    assert "what it spent can no longer be read" in refused.output


def test_what_an_earlier_version_noted_is_not_what_is_lost_now(dpbench: Run) -> None:
    secure = TINY.replace("delta = 1e-4", "delta = 1e-4\nsecure_rng = true")
    assert dpbench("run", "--no-controls", base=secure).exit_code == 0
    (generator,) = Path("runs/artifacts/generator").iterdir()
    noted = json.loads(Path("runs/releases.json").read_text())
    old = [{key: one[key] for key in ("generator", "spent", "ledger")} for one in noted]
    Path("runs/releases.json").write_text(json.dumps(old))
    (generator / "meta.json").write_text("{}")
    refused = dpbench("run", "--no-controls")
    assert refused.exit_code == 2
    assert "what it spent can no longer be read" in refused.output


def test_a_release_that_is_cleaned_away_still_counts(dpbench: Run) -> None:
    secure = TINY.replace("delta = 1e-4", "delta = 1e-4\nsecure_rng = true")
    assert dpbench("run", "--no-controls", base=secure).exit_code == 0
    assert "removed 1 rows" in dpbench("clean", "--method", "*").output
    assert dpbench("run", "--no-controls").exit_code == 0
    (row,) = load_results(Path("runs"))
    assert row.privacy is not None and len(row.privacy.ledger.mechanisms) == 2


def test_a_failed_trial_is_1_and_named(dpbench: Run) -> None:
    bad = '[generators.bad]\nplugin = "mean"\nfault = "refuses"\n'
    result = dpbench("run", "--grid", "linear-look-bad", "--no-controls", extra=bad)
    assert result.exit_code == 1
    assert "1 failed" in result.output
    assert (
        "failed: linear-look-bad epsilon 10.0 clip 1.0: this generator wants more" in result.output
    )
    assert "Traceback" not in result.output


def test_a_diverged_trial_is_1_and_has_no_number(dpbench: Run) -> None:
    bad = '[generators.bad]\nplugin = "mean"\nfault = "nan"\n'
    result = dpbench("run", "--grid", "linear-look-bad", "--no-controls", extra=bad)
    assert result.exit_code == 1
    assert "diverged: linear-look-bad" in result.output
    (kept,) = Path("runs/results").iterdir()
    content = json.loads(kept.read_text())
    assert (content["status"], content["metrics"]) == ("diverged", {})


@pytest.mark.parametrize("stage", ["public", "generator", "score"])
def test_a_corrupt_artifact_is_one_line_and_made_again(dpbench: Run, stage: str) -> None:
    dpbench("run", "--no-controls")
    (directory, *_) = (Path("runs/artifacts") / stage).iterdir()
    (directory / "meta.json").write_bytes(b"\x00")
    result = dpbench("run", "--no-controls")
    assert result.exit_code == 0
    line = f"artifact {stage}/{directory.name} is corrupt: it will be computed again"
    assert line in result.output.splitlines()
    assert "1/1 " in result.output
    assert "Everything is cached" in dpbench("run", "--no-controls").output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grid", "smoek"], "unknown grid or method 'smoek'"),
        (["--grid", "linear-look-MEEN"], "did you mean 'linear-look-MEAN'?"),
        (["--method", "linear-look-MEEN"], "did you mean 'linear-look-MEAN'?"),
        (["--method", "mean[shfit=1]"], "shfit: unknown key 'shfit'; did you mean 'shift'?"),
        (["--dataset", "tinny"], "unknown dataset 'tinny'; did you mean 'tiny'?"),
        (["--protocol", "tinny"], "unknown protocol 'tinny'; did you mean 'tiny'?"),
        (["--epsilon", "-1"], "epsilon must be positive (or inf), got -1.0"),
        (["--epsilon", "0"], "epsilon must be positive"),
        (["--epsilon", "nan"], "epsilon must be positive"),
        (["--clip", "0"], "clip must be positive and finite, got 0.0"),
        (["--clip", "-0.5"], "clip must be positive"),
        (["--config", "nowhere.toml"], "cannot read nowhere.toml"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["--inception-weights", "benchmarks.toml"], "is not the released Inception weights"),
        (["--inception-weights", "nowhere.pth"], "no Inception weights at nowhere.pth"),
    ],
)
def test_wrong_options_are_one_line(dpbench: Run, arguments: list[str], words: str) -> None:
    assert words in one_line(dpbench("run", *arguments))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("[grids.all2\n", "is not valid TOML"),
        ('[datasets.mine]\nplugin = "npz"\npath = "x.npz"\n', "no file x.npz"),
    ],
)
def test_wrong_files_are_one_line(dpbench: Run, extra: str, words: str) -> None:
    assert words in one_line(dpbench("run", "--dataset", "mine", extra=extra))


def test_delta_must_be_below_one_over_n(dpbench: Run) -> None:
    extra = '[grids.loose]\nmethods = ["linear-look-*"]\nepsilon = [1]\nclip = [1]\ndelta = 0.05\n'
    line = one_line(dpbench("run", "--grid", "loose", extra=extra))
    assert "delta = 0.05 is not below 1/N = 0.0083 (120 private images of tiny)" in line


def test_several_violations_are_one_report(dpbench: Run) -> None:
    result = dpbench("run", extra="[grids.bad]\nepsilon = [-1]\nclip = [0]\nmethods = 3\n")
    assert result.exit_code == 2
    assert "has 3 violations:" in result.stderr
    assert "Traceback" not in result.output


def test_a_runs_directory_that_cannot_be_made(dpbench: Run, tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    line = one_line(dpbench("run", "--runs", "blocked/runs"))
    assert "blocked/runs cannot be written to" in line
    assert "--runs" in line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_runs_directory_without_permission(dpbench: Run, tmp_path: Path) -> None:
    (tmp_path / "sealed").mkdir(mode=0o500)
    assert "cannot be written to" in one_line(dpbench("run", "--runs", "sealed"))


def test_a_directory_in_use_is_one_line(dpbench: Run, tmp_path: Path) -> None:
    Path("runs").mkdir()
    with filelock.FileLock("runs/.lock"):
        assert "another run is using runs" in one_line(dpbench("run"))


def test_no_other_run_starts_while_the_page_is_written(
    dpbench: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(runs: Path, _directory: Path) -> Written:
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(runs / ".lock").acquire(timeout=0)
        return Written(())

    monkeypatch.setattr("dpbench.leaderboard.write_leaderboard", write)
    assert dpbench("run", "--no-controls").exit_code == 0


def test_brackets_in_names_are_printed_as_they_are(dpbench: Run) -> None:
    bad = '[public.linear]\nfails = true\n[generators."a[b]"]\nplugin = "mean"\n'
    result = dpbench("run", "--grid", "linear-look-a[[]b]", "--no-controls", extra=bad)
    assert result.exit_code == 1
    assert "linear-look-a[b]" in result.output


def test_missing_inception_weights_stop_a_run_before_it_trains(
    dpbench: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise WeightsError("the Inception weights cannot be fetched: name a file")

    monkeypatch.setattr("dpbench.metrics.evaluators.inception.inception_weights_file", refuse)
    extra = '[protocols.canonical]\nevaluator = "inception"\nsamples = 16\n'
    result = dpbench("run", "--protocol", "canonical", extra=extra)
    assert result.exit_code == 2
    assert "the Inception weights cannot be fetched" in result.stderr
    assert not Path("runs/artifacts/public").exists()


def test_a_refuted_method_is_not_ranked_by_the_run_that_trained_it(dpbench: Run) -> None:
    dpbench("run", "--no-controls")
    (row,) = load_results(Path("runs"))
    save_audit(Path("runs"), row.identity, audit(14.0, claimed=9.9))
    result = dpbench("run", "--no-controls")
    assert result.exit_code == 0, result.output
    assert "refuted: an audit found ε ≥ 14" in result.output
    (line,) = [x for x in result.output.splitlines() if x.startswith("linear-look-MEAN")][:1]
    assert line.split()[1:] == ["refuted"]


def test_a_run_prints_its_own_rows_alone(dpbench: Run) -> None:
    dpbench("run", "--no-controls", "--epsilon", 1)
    result = dpbench("run", "--no-controls", "--epsilon", 10)
    assert "ε = 10" in result.output and "ε = 1 " not in result.output


def test_a_quiet_run_says_nothing_but_its_leaderboard(dpbench: Run) -> None:
    lines = dpbench("run", "--no-controls", "--quiet").output.splitlines()
    assert lines[0].startswith("tiny") and lines[3].startswith("linear-look-MEAN")
    assert len(lines) == 4


def test_a_run_ends_on_one_screen_and_says_how_to_go_on(dpbench: Run) -> None:
    lines = dpbench("run").output.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("tiny, default settings"))
    assert len(lines) - first <= 24
    assert "dpbench open" in lines[-1] and "dpbench show METHOD@ε" in lines[-1]

"""``dpbench audit``: a lower bound beside epsilon."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from fakes import TINY

from dpbench.privacy import audit
from dpbench.privacy.replay import ReplayVerdict
from dpbench.results import load_results
from dpbench.runner.directory import RunDirectory
from dpbench.runner.replays import Replayed
from dpbench.runner.withheld import WITHHELD

Run = Callable[..., Result]


def test_a_bound_stands_beside_epsilon_ever_after(dpbench: Run) -> None:
    assert dpbench("run", "--no-controls").exit_code == 0
    result = dpbench("audit", "linear-look-MEAN", "--kind", "one-run", "--canaries", 20)
    assert result.exit_code == 0, result.output
    assert "not refuted" in result.output
    (trial,) = load_results(Path("runs"))
    assert trial.audit is not None
    assert 0 <= trial.audit.epsilon_lower <= trial.audit.epsilon_claimed <= 10


def test_methods_narrow_what_is_audited(dpbench: Run) -> None:
    result = dpbench("audit", "--method", "mean", "--method", "meen")
    assert result.exit_code == 2
    assert "unknown method 'meen'; did you mean 'mean'?" in result.output


def test_every_grid_that_is_named_is_audited(dpbench: Run) -> None:
    extra = "".join(f'[generators.{n}]\nplugin = "mean"\n' for n in ("one", "two"))
    named = ("--grid", "linear-look-one", "--grid", "linear-look-two")
    attack = ("--kind", "one-run", "--canaries", 20, "--format", "json")
    ran = dpbench("audit", *named, *attack, extra=extra)
    assert ran.exit_code == 0, ran.output
    assert "2 trials that train together" in ran.output
    assert "linear-look-two" in " ".join(ran.output.split())


def test_an_audit_has_one_seed_of_its_own(dpbench: Run) -> None:
    result = dpbench("audit", "linear-look-MEAN", "--seed", 0, "--seed", 1)
    assert result.exit_code == 2
    assert "an audit has one --seed, and holds for trials with any" in result.output


def test_an_audit_needs_no_run_before_it(dpbench: Run) -> None:
    result = dpbench(
        "audit",
        "linear-look-MEAN",
        "--kind",
        "one-run",
        "--canaries",
        20,
        "--format",
        "json",
        "--epsilon",
        3,
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["trial"] == "linear-look-MEAN at epsilon 3, clip 1"
    assert row["epsilon_claimed"] <= 3


def test_a_refuted_claim_fails(dpbench: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refute(*_: object, **__: object) -> list[audit.AuditResult]:
        result = audit.AuditResult(
            kind="many-run", epsilon_claimed=1.0, epsilon_lower=2.0, epsilon_ceiling=3.0,
            delta=1e-4, confidence=0.95, runs=16, canaries=1, records=10, score="distance",
            correct=16, guesses=16,
        )  # fmt: skip
        return [result]

    monkeypatch.setattr("dpbench.runner.audits.run_audits", refute)
    result = dpbench("audit", "linear-look-MEAN")
    assert result.exit_code == 1
    assert "refuted" in result.output


def test_an_unknown_method_is_one_line(dpbench: Run) -> None:
    result = dpbench("audit", "linear-look-MEEN")
    assert result.exit_code == 2
    assert "did you mean 'linear-look-MEAN'?" in result.stderr


ANOTHER = """
[grids.other]
methods = ["linear-look-MEAN"]
epsilon = [5, 7]
clip = [2.0]
"""


def test_what_a_grid_runs_is_what_is_audited(dpbench: Run) -> None:
    ran = dpbench("run", "--grid", "other", "--no-controls", extra=ANOTHER)
    assert ran.exit_code == 0, ran.output
    options = ("--kind", "one-run", "--canaries", 20)
    result = dpbench("audit", "*MEAN", "--grid", "other", *options, "--format", "json")
    assert result.exit_code == 0, result.output
    titles = [row["trial"] for row in json.loads(result.stdout)]
    assert titles == [f"linear-look-MEAN at epsilon {e}, clip 2" for e in (5, 7)]
    assert all(row.audit is not None for row in load_results(Path("runs")))


def test_an_audit_waits_for_no_run_but_says_who_writes(dpbench: Run) -> None:
    with RunDirectory(Path("runs")).lock():
        result = dpbench("audit", "linear-look-MEAN", "--kind", "one-run", "--canaries", 20)
    assert result.exit_code == 2
    assert "another run is using runs" in result.stderr


STRANGERS = """
[generators.leaks]
plugin = "mean"
fault = "leaks"
[generators.moody]
plugin = "mean"
fault = "moody"
[generators.shy]
plugin = "mean"
fault = "shy"
[grids.strangers]
methods = ["linear-look-MEAN", "linear-look-leaks", "linear-look-moody", "linear-look-shy"]
epsilon = [10]
clip = [1.0]
"""


def test_in_secure_mode_a_replay_quotes_no_plugin(dpbench: Run) -> None:
    secure = TINY.replace("delta = 1e-4", "delta = 1e-4\nsecure_rng = true")
    command = ("audit", "linear-look-shy", "--grid", "strangers", "--kind", "replay")
    result = dpbench(*command, "--format", "json", base=secure, extra=STRANGERS)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert (row["verdict"], row["reason"]) == ("not-replayed", WITHHELD)
    assert "not while you" not in result.output
    assert not any("not while you" in p.read_text() for p in Path("runs/audits").glob("*"))


def test_what_plugins_say_is_no_markup(dpbench: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "IndexError: tensor[/0] of [batch]"
    verdict = ReplayVerdict(verdict="not-replayed", reason=why)
    told = [Replayed("linear-look-MEAN", 1, verdict, None)]

    def replay(_prepared: object, _device: str, notice: Callable[[str], None]) -> list[Replayed]:
        notice(f"a replay: {why}")
        return told

    monkeypatch.setattr("dpbench.runner.replays.replay_methods", replay)
    result = dpbench("audit", "linear-look-MEAN", "--kind", "replay")
    assert result.exit_code == 0, result.output
    assert why in result.stdout and f"a replay: {why}" in result.stderr


@pytest.mark.parametrize(
    ("name", "verdict", "why", "code"),
    [
        ("MEAN", "passed", "all that leaves the fit follows from its recorded releases", 0),
        ("leaks", "failed", "private records reach past the releases: the state ('mean')", 1),
        ("moody", "not-replayed", "the fit is not repeatable", 0),
        ("shy", "not-replayed", "the fit to be replayed fails: RuntimeError: not while you", 0),
    ],
)
def test_a_replay_fails_the_command_for_a_cheat_alone(
    dpbench: Run, name: str, verdict: str, why: str, code: int
) -> None:
    command = ("audit", f"linear-look-{name}", "--grid", "strangers", "--kind", "replay")
    result = dpbench(*command, "--format", "json", extra=STRANGERS)
    assert result.exit_code == code, result.output
    (row,) = json.loads(result.stdout)
    assert row["verdict"] == verdict
    assert row["reason"].startswith(why)
    again = dpbench(*command)
    assert again.exit_code == code
    assert verdict in again.stdout


def test_what_a_replay_found_stands_in_the_rows_and_in_the_table(dpbench: Run) -> None:
    ran = dpbench("run", "--grid", "strangers", "--no-controls", extra=STRANGERS)
    assert ran.exit_code == 0, ran.output
    found = {
        row.method.rpartition("-")[2]: row.privacy.replay
        for row in load_results(Path("runs"))
        if row.privacy and row.privacy.replay
    }
    assert {name: replay.verdict for name, replay in found.items()} == {
        "MEAN": "passed", "leaks": "failed", "moody": "not-replayed", "shy": "not-replayed",
    }  # fmt: skip
    text = dpbench("leaderboard", "--format", "markdown").output
    chosen, unranked = text.partition("### The chosen trials")[2].split("### Not ranked")
    table = chosen.partition("### Further")[0].splitlines()
    rows = [[cell.strip() for cell in line.split("|")] for line in table]
    assert {row[2]: row[-2] for row in rows if "ε = 10" in row} == {
        "linear-look-MEAN": "replayed",
        "linear-look-moody": "ledger (not replayed)",
        "linear-look-shy": "ledger (not replayed)",
    }
    assert "linear-look-moody: not replayed: the fit is not repeatable" in chosen
    assert "linear-look-shy: not replayed: the fit to be replayed fails" in chosen
    assert "linear-look-leaks; ε = 10; clip 1; seed 0: replay failed: private rec" in unranked

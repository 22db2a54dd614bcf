"""Results of several machines in one directory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from leaderboard.fabricate import DOMAIN, audit, control, trial

from dpbench.analysis.merge import merge
from dpbench.cli.main import cli
from dpbench.errors import DpbenchError
from dpbench.results import (
    Choice,
    Run,
    append_history,
    load_results,
    read_history,
    save_audit,
    save_result,
)
from dpbench.runner.companies import company_of
from dpbench.store import Artifact, Store


def test_rows_audits_and_artifacts_come_together(tmp_path: Path) -> None:
    a, b, joint = (tmp_path / name for name in ("a", "b", "joint"))
    save_result(a, trial("ae-enc-GAN"))
    save_result(b, trial("ae-enc-VAE"))
    save_result(b, trial("ae-enc-GAN"))
    save_audit(b, trial("ae-enc-VAE"), audit(3.0))
    Store(b / "artifacts").save("generator", "k" * 32, Artifact({}, {"w": torch.ones(2)}))
    done = CliRunner().invoke(cli, ["merge", str(a), str(b), "--to", str(joint)])
    assert done.exit_code == 0 and "2 rows added, 1 were there" in done.output
    found = {result.method: result for result in load_results(joint)}
    assert set(found) == {"ae-enc-GAN", "ae-enc-VAE"}
    assert found["ae-enc-VAE"].audit is not None
    assert torch.equal(
        Store(joint / "artifacts").load("generator", "k" * 32).tensors["w"], torch.ones(2)
    )
    again = merge([a, b], joint)
    assert (again.added, again.same) == (0, 3)


def test_what_trained_together_is_known_as_it_is_of_the_artifacts_that_stay(tmp_path: Path) -> None:
    a, b, joint = (tmp_path / name for name in ("a", "b", "joint"))
    for root, company in ((a, '["one","two"]'), (b, '["two","three"]')):
        save_result(root, trial(root.name))
        (root / "companies.jsonl").write_text(company + "\n")
    for _ in range(2):
        merge([a, b], joint)
        assert company_of(joint, "two") == ("one", "two")
        assert company_of(joint, "three") == ("two", "three")
        assert company_of(joint, "four") == ()
    assert len((joint / "companies.jsonl").read_text().splitlines()) == 2


def test_other_figures_of_one_trial_are_told_and_the_first_stay(tmp_path: Path) -> None:
    save_result(tmp_path / "a", trial(fid=50.0))
    save_result(tmp_path / "b", trial(fid=51.0))
    done = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "joint")
    assert [r.metrics["fid"] for r in done.unlike] == [51.0]
    assert [r.metrics["fid"] for r in load_results(tmp_path / "joint")] == [50.0]


def test_protocols_of_one_name_must_agree(tmp_path: Path) -> None:
    save_result(tmp_path / "a", trial(protocol=DOMAIN))
    save_result(tmp_path / "b", trial("ae-enc-VAE", protocol={**DOMAIN, "reference": "test"}))
    with pytest.raises(DpbenchError, match="reference private-train against test"):
        merge([tmp_path / "a", tmp_path / "b"], tmp_path / "joint")
    assert not (tmp_path / "joint" / "results").exists()


def test_releases_stay_where_they_are(tmp_path: Path) -> None:
    save_result(tmp_path / "a", trial())
    Store(tmp_path / "a" / "artifacts").save("generator", "k" * 32, Artifact({"rng": "secure"}))
    with pytest.raises(DpbenchError, match="holds releases"):
        merge([tmp_path / "a"], tmp_path / "joint")


def test_choices_that_were_stated_apart_are_none_together(tmp_path: Path) -> None:
    stated = Choice(rule="first", chosen=True)
    save_result(tmp_path / "a", trial(clip=1.0, choice=stated))
    save_result(tmp_path / "b", trial(clip=2.0, choice=stated))
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "joint")
    assert {r.choice.rule for r in load_results(tmp_path / "joint")} == {"scores"}


def test_controls_that_differ_are_told(tmp_path: Path) -> None:
    for name, fid in (("a", 1.0), ("b", 1.1)):
        save_result(tmp_path / name, trial())
        save_result(tmp_path / name, control("real", fid))
    done = CliRunner().invoke(
        cli, ["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--to", str(tmp_path / "joint")]
    )
    assert done.exit_code == 0, done.output
    assert "control:real" in done.output


def test_the_history_of_all_is_in_order_of_time_and_there_once(tmp_path: Path) -> None:
    a, b, joint = (tmp_path / name for name in ("a", "b", "joint"))
    for day, source in enumerate((b, a, b), 1):
        save_result(source, trial())
        run = Run(command=f"run {day}", versions={}, wall_seconds=1, finished=f"2026-01-0{day}")
        append_history(source, run)
    for _ in range(2):
        merge([a, b], joint)
    assert [run.command for run in read_history(joint)[0]] == ["run 1", "run 2", "run 3"]


def test_what_either_row_of_a_trial_has_is_kept(tmp_path: Path) -> None:
    a, b, joint = (tmp_path / name for name in ("a", "b", "joint"))
    plain = trial(grids=("all",), artifacts={"features": "f" * 32})
    scored = {"metrics": {**plain.metrics, "accuracy": 0.9}, "grids": ("wide",)}
    save_result(a, plain)
    save_result(b, plain.model_copy(update=scored))
    for _ in range(2):
        done = merge([a, b], joint)
        assert not done.unlike
        (result,) = load_results(joint)
        assert result.metrics == {**plain.metrics, "accuracy": 0.9}
        assert set(result.grids) == {"all", "wide"}
    assert (done.added, done.same) == (0, 2)


def test_further_figures_of_other_images_are_told_and_left(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    plain = trial(artifacts={"features": "f" * 32})
    save_result(a, plain)
    other = {"metrics": {**plain.metrics, "accuracy": 0.9}, "artifacts": {"features": "e" * 32}}
    save_result(b, plain.model_copy(update=other))
    done = merge([a, b], tmp_path / "joint")
    assert len(done.unlike) == 1
    assert load_results(tmp_path / "joint")[0].metrics == plain.metrics


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_failure_stays_only_where_nobody_did_better(tmp_path: Path, order: str) -> None:
    save_result(tmp_path / "a", trial(fid=None, status="failed", reason="no memory", grids=("x",)))
    save_result(tmp_path / "b", trial(grids=("y",)))
    for _ in range(2):
        done = merge([tmp_path / name for name in order], tmp_path / "joint")
        assert not done.unlike
    (result,) = load_results(tmp_path / "joint")
    assert (result.status, result.reason, result.metrics["fid"]) == ("ok", None, 100.0)
    assert set(result.grids) == {"x", "y"}


def test_training_that_diverged_is_no_failure_to_forget(tmp_path: Path) -> None:
    save_result(tmp_path / "a", trial(fid=None, status="diverged", reason="NaN"))
    save_result(tmp_path / "b", trial())
    done = merge([tmp_path / "a", tmp_path / "b"], tmp_path / "joint")
    assert len(done.unlike) == 1
    assert load_results(tmp_path / "joint")[0].status == "diverged"

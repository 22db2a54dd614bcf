"""What audits found stands beside the trials they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from leaderboard.fabricate import audit, trial

from dpbench.privacy.replay import ReplayVerdict
from dpbench.results import read_results, save_audit, save_result


def test_an_audit_is_of_all_seeds_and_protocols_of_its_trial_alone(tmp_path: Path) -> None:
    audited = trial()
    others: list[dict[str, Any]] = [{"clip": 2.0}, {"delta": 1e-5}, {"axes": {"a": 1}}]
    for one in (audited, trial(seed=1), *(trial(**other) for other in others)):
        save_result(tmp_path, one)
    save_audit(tmp_path, audited.identity, audit(2.0))
    found = [(r.seed, r.clip) for r in read_results(tmp_path).results if r.audit]
    assert found == [(0, 1.0), (1, 1.0)]


def test_a_refutation_is_not_covered_up_by_a_later_audit_of_another_kind(tmp_path: Path) -> None:
    save_result(tmp_path, trial())
    save_audit(tmp_path, trial().identity, audit(14.0, claimed=9.9))
    weaker = audit(0.0).model_copy(update={"kind": "one-run"})
    save_audit(tmp_path, trial().identity, weaker)
    (kept,) = read_results(tmp_path).results
    assert kept.audit is not None and kept.audit.refuted


def test_noise_given_is_audited_whatever_epsilon_it_came_to(tmp_path: Path) -> None:
    noisy = trial(epsilon=3.0, noise_multiplier=0.5)
    save_result(tmp_path, noisy)
    save_audit(tmp_path, noisy.model_copy(update={"epsilon": None}).identity, audit(1.0))
    assert read_results(tmp_path).results[0].audit is not None


def test_a_failed_replay_outweighs_one_that_passed(tmp_path: Path) -> None:
    passed, failed = (
        ReplayVerdict(verdict="passed"),
        ReplayVerdict(verdict="failed", reason="state differs"),
    )
    row = trial()
    assert row.privacy is not None
    kept = row.privacy.model_copy(update={"replay": passed})
    save_result(tmp_path, row.model_copy(update={"privacy": kept}))
    save_audit(tmp_path, row.identity, failed)
    (found,) = read_results(tmp_path).results
    assert found.privacy is not None and found.privacy.replay == failed and found.audit is None


@pytest.mark.parametrize("text", ["{", "[]", '{"audit": 3, "trial": {}}', '{"trial": {}}', "{}"])
def test_an_audit_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    save_result(tmp_path, trial())
    (tmp_path / "audits").mkdir()
    (tmp_path / "audits" / "a.json").write_text(text)
    rows = read_results(tmp_path)
    assert len(rows.results) == 1 and rows.results[0].audit is None
    assert [left.file for left in rows.set_aside] == ["audits/a.json"]

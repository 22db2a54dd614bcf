"""Rows that older versions of the package wrote, read by this one."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

from dpbench.results import read_history, read_results, save_result

SAMPLES = Path(__file__).parent / "samples"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A runs directory of schema version 1: a grid, a grid with other latents, an audit."""
    return Path(shutil.copytree(SAMPLES / "schema-1", tmp_path / "runs"))


def test_every_row_of_schema_1_is_read(old: Path) -> None:
    rows = read_results(old)
    assert rows.set_aside == ()
    assert len(rows.results) == len(list((old / "results").iterdir())) == 10
    assert {result.schema_version for result in rows.results} == {2}
    assert [result.status for result in rows.results if not result.is_control] == [
        "ok", "ok", "diverged", "failed", "ok", "ok",
    ]  # fmt: skip


def test_their_privacy_is_typed(old: Path) -> None:
    by_method = {r.method: r for r in read_results(old).results if r.settings == "wide"}
    privacy = by_method["linear-look-MEAN"].privacy
    assert privacy is not None
    assert (privacy.ledger.trust, privacy.ledger.rng, privacy.replay) == ("ledger", "seeded", None)
    assert privacy.spent.epsilon == by_method["linear-look-MEAN"].epsilon_spent
    failed = next(r for r in read_results(old).results if r.status == "failed")
    assert failed.privacy is None and not failed.secure


def test_an_infinite_epsilon_stays_one(old: Path) -> None:
    (row,) = (r for r in read_results(old).results if r.epsilon == math.inf)
    assert row.privacy is not None and row.privacy.spent.opacus == math.inf


def test_settings_that_were_a_grids_name_keep_it_for_titles(old: Path) -> None:
    named = {(r.settings, r.grids) for r in read_results(old).results}
    assert named == {("default", ()), ("wide", ("wide",))}


def test_an_old_audit_is_of_the_same_trials(old: Path) -> None:
    audited = [r for r in read_results(old).results if r.audit]
    assert [(r.method, r.epsilon, r.clip) for r in audited] == [("linear-look-MEAN", 10.0, 1.0)]


def test_an_old_history_is_read(old: Path) -> None:
    found, left = read_history(old)
    assert len(found) == 4 and not left
    assert found[0].command == "dpbench run --epsilon 10 --epsilon inf"


def test_a_trial_made_anew_takes_the_place_of_its_old_row(old: Path) -> None:
    before = read_results(old).results
    save_result(old, before[-1].model_copy(update={"metrics": {"fid": 1.25}}))
    after = read_results(old).results
    assert len(after) == len(before)
    assert [r.metrics.get("fid") for r in after if r.key == before[-1].key] == [1.25]

"""Labels from a grid to its samples, with the tiny plugins."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dpbench import load
from dpbench.results import Result, load_results
from dpbench.store import Store

GRID = """
labels = ["none", "private"]
"""


def by_labels(results: list[Result]) -> dict[str, Result]:
    return {result.labels: result for result in results}


@pytest.fixture
def both(carry_out, tmp_path) -> tuple[dict[str, Result], Store]:
    results, _ = carry_out(GRID)
    return by_labels(results), Store(tmp_path / "runs" / "artifacts")


def test_a_grid_runs_with_and_without_labels(both) -> None:
    results, store = both
    assert {name: result.status for name, result in results.items()} == {
        "none": "ok",
        "private": "ok",
    }
    ledgers = {name: result.privacy.ledger for name, result in results.items()}
    assert [m.classes for m in ledgers["none"].mechanisms] == [1]
    assert [m.classes for m in ledgers["private"].mechanisms] == [2]
    assert results["none"].epsilon_spent == results["private"].epsilon_spent
    features = store.load("features", results["private"].artifacts["features"]).tensors
    # The private classes of the tiny data are 0 and 2, and samples are balanced.
    assert features["labels"].bincount().tolist() == [32, 0, 32]
    plain = store.load("features", results["none"].artifacts["features"]).tensors
    assert "labels" not in plain


def test_labels_change_neither_key_nor_numbers_of_trials_without(both, carry_out) -> None:
    results, _ = both
    alone, _ = carry_out("")
    assert by_labels(alone)["none"].artifacts == results["none"].artifacts
    assert by_labels(alone)["none"].metrics == results["none"].metrics


def test_one_word_stands_for_a_list_of_one(carry_out) -> None:
    results, _ = carry_out('labels = "private"\n')
    assert [result.labels for result in results] == ["private"]


def test_the_samples_of_a_board_have_labels(both, tmp_path) -> None:
    board = load(tmp_path / "runs")
    shown = board.trial("linear-look-MEAN", labels="private")
    assert shown.labels is not None and len(shown.labels) == len(shown.samples)
    assert shown.labels.tolist() == [0, 2] * 32
    assert board.trial("linear-look-MEAN", labels="none").labels is None


def test_an_unknown_kind_of_labels_is_refused(configure) -> None:
    from dpbench.planning.config import InvalidConfig

    with pytest.raises(InvalidConfig, match=r"grids\.all\.labels"):
        configure('labels = "public"\n')


def test_trials_with_and_without_labels_do_not_share_a_table(both, tmp_path) -> None:
    from dpbench.leaderboard.sections import make_sections

    results, _ = both
    sections = make_sections(results.values())
    assert [section.labels for section in sections] == ["none", "private"]
    assert "private labels" in sections[1].title
    assert len({section.place for section in sections}) == 2


def test_a_release_has_labels_in_every_form(dpbench) -> None:
    from torchvision.datasets import ImageFolder

    import dpbench as package

    assert dpbench("run", "--no-controls", extra=GRID).exit_code == 0
    ambiguous = dpbench("release", "linear-look-MEAN@10", "--n", 20, "--to", "shared")
    assert ambiguous.exit_code != 0 and "--labels" in ambiguous.output
    done = dpbench(
        "release", "linear-look-MEAN@10", "--labels", "private", "--n", 20, "--to", "shared"
    )
    assert done.exit_code == 0, done.output
    with np.load("shared/images.npz") as arrays:
        assert np.bincount(arrays["labels"]).tolist() == [10, 0, 10]
    pictures = ImageFolder("shared/images")
    assert pictures.classes == ["0", "2"]
    assert np.bincount(pictures.targets).tolist() == [10, 10]
    images, labels = package.load_release("shared").labelled(4, seed=1)
    assert images.shape[0] == 4 and labels is not None and labels.tolist() == [0, 2, 0, 2]
    statement = Path("shared/privacy.md").read_text()
    assert "one private image with its label" in statement
    assert "parallel over 2 classes" in statement


def test_labels_can_be_chosen_on_the_command_line(dpbench) -> None:
    assert dpbench("run", "--no-controls", "--labels", "private").exit_code == 0
    assert [result.labels for result in load_results(Path("runs"))] == ["private"]


@pytest.mark.parametrize("kind", ["many-run", "one-run", "replay"])
def test_an_audit_of_labelled_trials_is_kept_beside_them(dpbench, kind: str) -> None:
    done = dpbench(
        "audit", "--kind", kind, "--labels", "private", "--trainings", 16, "--canaries", 10,
        "--records", 40, "--format", "json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout[done.stdout.index("[\n") :])
    assert len(found) == 1
    if kind == "replay":
        assert found[0]["verdict"] == "passed"
        return
    assert 0 < found[0]["epsilon_claimed"] <= 10 and "private labels" in found[0]["trial"]
    assert dpbench("run", "--no-controls", extra=GRID).exit_code == 0
    audited = {row.labels: row.audit is not None for row in load_results(Path("runs"))}
    assert audited == {"none": False, "private": True}

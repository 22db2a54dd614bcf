"""The schema of results, and how they are kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from leaderboard.fabricate import privacy
from pydantic import ValidationError

from dpbench.results import Result, Rows, load_results, read_results, save_result


def result(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "method": "ae-enc-GAN",
        "dataset": "mnist",
        "epsilon": 1.0,
        "delta": 1e-6,
        "clip": 0.5,
        "seed": 0,
        "status": "ok",
        "metrics": {"fid": 1.5},
        "protocol": {"name": "default"},
    }
    return Result(**{**fields, **changes})


def test_a_result_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = result(
        epsilon=math.inf,
        epsilon_spent=math.inf,
        privacy=privacy(0.0, math.inf),
        axes={"generators.vae.x": 1},
    )
    save_result(tmp_path, kept)
    assert load_results(tmp_path) == [kept]


def test_files_are_json_that_any_reader_accepts(tmp_path: Path) -> None:
    save_result(tmp_path, result(epsilon=math.inf, privacy=privacy(0.0, math.inf)))
    (path,) = (tmp_path / "results").iterdir()

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert float(content["epsilon"]) == math.inf
    promised = "method public extractor generator dataset epsilon delta clip seed status"
    assert set(promised.split()) | {"epsilon_spent", "metrics", "protocol"} <= set(content)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "ae-enc-VAE"},
        {"dataset": "fashion-mnist"},
        {"settings": "paper"},
        {"epsilon": 2.0},
        {"epsilon": math.inf},
        {"clip": 0.1},
        {"seed": 1},
        {"delta": 1e-5},
        {"axes": {"a": 1}},
        {"protocol": {"name": "paper"}},
        {"noise_multiplier": 0.3},
    ],
)
def test_trials_that_differ_do_not_replace_each_other(tmp_path: Path, change: Any) -> None:
    save_result(tmp_path, result())
    save_result(tmp_path, result(**change))
    assert len(load_results(tmp_path)) == 2


def test_the_same_trial_is_replaced(tmp_path: Path) -> None:
    save_result(tmp_path, result(status="failed", reason="it broke", metrics={}))
    save_result(tmp_path, result(metrics={"fid": 2.0}))
    (kept,) = load_results(tmp_path)
    assert (kept.status, kept.metrics) == ("ok", {"fid": 2.0})


def test_epsilon_does_not_name_a_trial_driven_by_noise(tmp_path: Path) -> None:
    save_result(tmp_path, result(noise_multiplier=0.3, epsilon=None, status="failed"))
    save_result(tmp_path, result(noise_multiplier=0.3, epsilon=351.2))
    assert len(load_results(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "schema version None is unknown"),
        (b'{"schema_version": 99}', "schema version 99 is unknown"),
        (b'{"schema_version": 2}', "method: field required (and 3 more)"),
        (b'{"schema_version": 1, "privacy": 3}', "method: field required"),
        (b"\xff\xfe{", "its bytes are damaged"),
    ],
)
def test_what_is_no_result_is_named_and_the_rest_shown(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    save_result(tmp_path, result())
    (tmp_path / "results" / "a.json").write_bytes(content)
    rows = read_results(tmp_path)
    assert rows.results == (result(),)
    (left,) = rows.set_aside
    assert left.file == "results/a.json" and reason in left.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epsilon", []), ("epsilon", {}), ("epsilon", "ten"), ("epsilon", -1), ("epsilon", "nan"),
        ("protocol", {}), ("protocol", []), ("protocol", {"name": "x", "samples": "many"}),
        ("metrics", {"fid": None}), ("privacy", {"ledger": {}}), ("axes", 1), ("grids", 3),
        ("clip", "0.1.2"), ("status", None), ("seed", 0.5), ("artifacts", {"features": 1}),
        ("artifacts", {"features": "../../mine"}), ("artifacts", {"../..": "mine"}),
    ],
)  # fmt: skip
def test_a_damaged_field_sets_its_file_aside(tmp_path: Path, field: str, value: Any) -> None:
    save_result(tmp_path, result())
    content = {**result(seed=1).model_dump(mode="json"), field: value}
    (tmp_path / "results" / "bad.json").write_text(json.dumps(content))
    rows = read_results(tmp_path)
    assert rows.results == (result(),)
    assert [left.file for left in rows.set_aside] == ["results/bad.json"]
    assert rows.set_aside[0].reason.startswith(field)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "results" / "a.json").mkdir(parents=True)
    assert "cannot be read" in str(read_results(tmp_path).set_aside[0])


def test_nothing_there_is_nothing_read(tmp_path: Path) -> None:
    assert read_results(tmp_path / "nowhere") == Rows((), ())


def test_a_trial_remembers_all_grids_that_mentioned_it(tmp_path: Path) -> None:
    save_result(tmp_path, result(grids=("all",)))
    save_result(tmp_path, result(grids=("mine", "all"), metrics={"fid": 3.0}))
    (kept,) = load_results(tmp_path)
    assert kept.grids == ("all", "mine") and kept.metrics == {"fid": 3.0}


def test_order_is_that_of_a_table(tmp_path: Path) -> None:
    several = [
        result(epsilon=1.0),
        result(epsilon=math.inf),
        result(epsilon=10.0, seed=1),
        result(epsilon=10.0, seed=0),
        result(method="control:real", epsilon=None, clip=None, seed=None),
    ]
    for one in several:
        save_result(tmp_path, one)
    loaded = load_results(tmp_path)
    assert loaded[0].is_control
    assert [(one.epsilon, one.seed) for one in loaded[1:]] == [
        (math.inf, 0), (10.0, 0), (10.0, 1), (1.0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("change", [{"status": "fine"}, {"schema_version": 3}, {"colour": "red"}])
def test_what_is_not_in_the_schema_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        result(**change)


def test_figures_asked_for_after_the_run_survive_a_second_run(tmp_path: Path) -> None:
    first = result(metrics={"fid": 1.0}, artifacts={"features": "same"})
    save_result(tmp_path, first.model_copy(update={"metrics": {"fid": 1.0, "kid": 2.0}}))
    save_result(tmp_path, first)
    (kept,) = load_results(tmp_path)
    assert kept.metrics == {"fid": 1.0, "kid": 2.0}
    save_result(tmp_path, result(metrics={"fid": 3.0}, artifacts={"features": "other"}))
    (fresh,) = load_results(tmp_path)
    assert fresh.metrics == {"fid": 3.0}

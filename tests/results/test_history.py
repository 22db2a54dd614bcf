"""What made the results, for as long as there are results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dpbench.results import Run, append_history, read_history

RUN = Run(command="dpbench run", versions={"dpbench": "1"}, wall_seconds=2.5, finished="now")


def test_runs_are_appended(tmp_path: Path) -> None:
    assert read_history(tmp_path) == ([], [])
    append_history(tmp_path, RUN)
    append_history(tmp_path, RUN)
    assert read_history(tmp_path) == ([RUN, RUN], [])


@pytest.mark.parametrize("damaged", ["{", "3", '[{"command": 1}]', "[null]"])
def test_a_damaged_history_is_named_and_never_overwritten(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "history.json").write_text(damaged)
    found, left = read_history(tmp_path)
    assert not found and left[0].file.startswith("history.json")
    append_history(tmp_path, RUN)
    assert read_history(tmp_path) == ([RUN], [])
    (kept,) = tmp_path.glob("history-damaged-*.json")
    assert kept.read_text() == damaged


def test_one_damaged_entry_does_not_hide_the_others(tmp_path: Path) -> None:
    entries = [RUN.model_dump(mode="json"), {"command": "x"}]
    (tmp_path / "history.json").write_text(json.dumps(entries))
    found, left = read_history(tmp_path)
    assert found == [RUN]
    assert [aside.file for aside in left] == ["history.json, entry 2"]

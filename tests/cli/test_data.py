"""``dpbench data``: what there is, and how it is divided."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from fakes import write_npz

Run = Callable[..., Result]
OWN = '[datasets.own]\nplugin = "npz"\npath = "own.npz"\npartition = { private_classes = [0] }\n'


def test_ones_own_images_are_described(dpbench: Run, tmp_path: Path) -> None:
    write_npz(tmp_path / "own.npz", 420)
    result = dpbench("data", "own", "--format", "json", extra=OWN)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["name"] == "own"
    assert row["cached"] is True
    assert sum(row["sizes"].values()) == 420
    assert row["image_shape"] == [1, 16, 16]
    assert row["private_classes"] == [0]
    assert row["path"] == "own.npz"


def test_all_configured_ones_are_described(dpbench: Run, tmp_path: Path) -> None:
    write_npz(tmp_path / "own.npz")
    result = dpbench("data", extra=OWN + "[datasets.mnist]\n")
    assert result.exit_code == 0, result.output
    assert "own: cached" in result.stdout
    assert "images of 1 x 16 x 16; private classes 0" in result.stdout
    assert "mnist: not cached yet; dpbench data mnist --fetch" in result.stdout
    assert "tiny: " in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ownn"], "unknown dataset 'ownn'; did you mean 'own'? (known: "),
        (["own", "--fetch"], "no file own.npz"),
        (["npz"], "path: field required"),
    ],
)
def test_wrong_names_are_one_line(dpbench: Run, arguments: list[str], words: str) -> None:
    result = dpbench("data", *arguments, extra=OWN)
    assert result.exit_code == 2
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_data_set_without_an_address_is_cached_nowhere(dpbench: Run) -> None:
    shown = dpbench("data", "tiny").stdout
    assert shown.startswith("tiny: cached\n"), shown


def test_a_missing_file_is_shown_as_not_cached(dpbench: Run) -> None:
    result = dpbench("data", "own", "--format", "json", extra=OWN)
    assert result.exit_code == 0
    (row,) = json.loads(result.stdout)
    assert row["cached"] is False
    assert row["sizes"] is None

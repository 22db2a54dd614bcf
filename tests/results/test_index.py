"""The index over rows: whatever happens to it or to them, what is read is what the rows say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from leaderboard.fabricate import trial

from dpbench import store
from dpbench.results import Rows, index, read_results, save_result
from dpbench.results.index import INDEX


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory of five rows, of which one is damaged, whose index was made."""
    monkeypatch.setattr(index, "FEWEST", 1)
    monkeypatch.setattr(index, "SETTLED_NS", -(10**18))  # what was just written counts as settled
    for seed in range(5):
        save_result(tmp_path, trial(seed=seed, fid=100.0 + seed))
    (tmp_path / "results" / "bad.json").write_text("{")
    read_results(tmp_path)
    return tmp_path


def without_index(runs: Path) -> Rows:
    (runs / "results" / INDEX).unlink(missing_ok=True)
    return read_results(runs)


def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that the names of files will be in that are opened from now on."""
    names: list[str] = []
    read = store.read_file

    def noting(path: Path, most: int = 2**26) -> bytes:
        names.append(path.name)
        return read(path, most)

    monkeypatch.setattr(index, "read_file", noting)
    return names


def test_rows_are_not_opened_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = opened(monkeypatch)
    rows = read_results(runs)
    assert names == [INDEX]
    assert len(rows.results) == 5 and [file.file for file in rows.set_aside] == ["results/bad.json"]
    assert rows == without_index(runs)


def a_row(runs: Path) -> Path:
    return next(path for path in (runs / "results").glob("*.json") if path.stem != "bad")


def change(runs: Path) -> None:
    path = a_row(runs)
    path.write_text(path.read_text().replace('"fid": 10', '"fid": 77'))


def change_in_place_and_hide_it(runs: Path) -> None:
    """Keep size, time and number, as a restored backup or a careless hand may."""
    path = a_row(runs)
    before = path.stat()
    with path.open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(text.replace('"fid": 10', '"fid": 77'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def remove(runs: Path) -> None:
    a_row(runs).unlink()


def add(runs: Path) -> None:
    save_result(runs, trial("ae-grad-VAE"))


def mend(runs: Path) -> None:
    (runs / "results" / "bad.json").unlink()


@pytest.mark.parametrize("what", [change, change_in_place_and_hide_it, remove, add, mend])
def test_what_is_done_to_rows_is_noticed(runs: Path, what: Callable[[Path], None]) -> None:
    before = read_results(runs)
    what(runs)
    after = read_results(runs)
    assert after != before
    assert after == without_index(runs)


@pytest.mark.parametrize("place", [0, 20, 70, 200, 900, -1])
def test_a_damaged_index_changes_nothing(runs: Path, place: int) -> None:
    expected, path = read_results(runs), runs / "results" / INDEX
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert read_results(runs) == expected
    path.write_bytes(data[: len(data) // 2])
    assert read_results(runs) == expected


@pytest.mark.parametrize("text", ["", "\n", "[]", "null\n"])
def test_an_index_that_is_none_changes_nothing(runs: Path, text: str) -> None:
    expected = read_results(runs)
    (runs / "results" / INDEX).write_text(text)
    assert read_results(runs) == expected


def test_what_was_just_written_is_not_kept_in_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "FEWEST", 1)
    save_result(tmp_path, trial())
    assert read_results(tmp_path).results == (trial(),)
    assert not (tmp_path / "results" / INDEX).exists()


def test_few_rows_need_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "SETTLED_NS", -(10**18))
    save_result(tmp_path, trial())
    read_results(tmp_path)
    assert [path.suffix for path in (tmp_path / "results").iterdir()] == [".json"]

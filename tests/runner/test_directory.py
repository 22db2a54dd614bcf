"""One directory, many commands: who may write, and what is swept away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest
from click.testing import Result

from dpbench.results import read_history
from dpbench.runner.directory import DirectoryInUse, RunDirectory
from dpbench.store import StoreNotWritable

Run = Callable[..., Result]


def scratch_of(runs: Path) -> Path:
    """Something that a command is writing just now."""
    path = runs / "artifacts" / "tmp" / "0123" / "tensors.safetensors"
    path.parent.mkdir(parents=True)
    path.write_text("half")
    return path


def test_whoever_comes_second_is_told_and_sweeps_nothing(tmp_path: Path) -> None:
    first, second = RunDirectory(tmp_path), RunDirectory(tmp_path)
    with first.lock():
        half = scratch_of(tmp_path)
        with pytest.raises(DirectoryInUse, match="another run is using"), second.lock():
            pass
        with first.lock():  # inside itself it neither waits nor sweeps
            assert half.exists()
    with second.lock():
        assert not half.exists()


def test_history_is_written_by_whoever_holds_the_lock(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    with directory.lock():
        directory.record("dpbench run", 1.25, 3)
        directory.record("dpbench run", 1.0, 0)  # made nothing
    ((entry,), _) = read_history(tmp_path)
    assert (entry.command, entry.jobs, entry.wall_seconds) == ("dpbench run", 3, 1.2)


def test_the_probe_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("kept")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / ".writable").symlink_to(precious)
    RunDirectory(runs).require_writable()
    assert precious.read_text() == "kept"
    (runs / ".writable").unlink()
    os.mkfifo(runs / ".writable")
    RunDirectory(runs).require_writable()


def test_a_file_in_the_way_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "blocked").write_text("")
    with pytest.raises(StoreNotWritable, match="name another with --runs"):
        RunDirectory(tmp_path / "blocked").require_writable()


@pytest.mark.parametrize("verb", [["audit", "linear-look-MEAN"], ["score", "--metrics", "prdc"]])
def test_audits_and_scores_wait_for_nobody(dpbench: Run, verb: list[str]) -> None:
    Path("runs").mkdir()
    with filelock.FileLock("runs/.lock"):
        result = dpbench(*verb)
    assert result.exit_code == 2
    assert "another run is using runs" in result.stderr

"""Logs of tasks as files."""

from __future__ import annotations

import os
from pathlib import Path

from dpbench.executors.log import drop_empty


def test_what_is_no_file_is_never_removed(tmp_path: Path) -> None:
    # A device is asked for in vain: a superuser could remove it.
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert drop_empty(pipe)
    assert pipe.exists()
    (tmp_path / "empty.txt").touch()
    assert drop_empty(tmp_path / "empty.txt")
    assert not (tmp_path / "empty.txt").exists()

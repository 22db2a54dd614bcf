"""What verbs print: where else to look, and tables that fit."""

from __future__ import annotations

from pathlib import Path

from dpbench.cli.console import elsewhere


def test_every_hint_finds_the_directory() -> None:
    assert "--runs" not in elsewhere(Path("runs"))
    hints = elsewhere(Path("my runs")).split("; ")
    assert len(hints) == 3 and all(hint.endswith(" --runs 'my runs'") for hint in hints)

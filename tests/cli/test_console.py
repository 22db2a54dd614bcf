"""What verbs print: where else to look, and tables that fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dpbench.cli.console import elsewhere
from dpbench.cli.main import cli


def test_every_hint_finds_the_directory() -> None:
    assert "--runs" not in elsewhere(Path("runs"))
    hints = elsewhere(Path("my runs")).split("; ")
    assert len(hints) == 3 and all(hint.endswith(" --runs 'my runs'") for hint in hints)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_tables_keep_to_the_columns_that_are_asked_for_and_cut_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, columns: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", str(columns))
    for verb in ("plugins", "doctor"):
        shown = CliRunner().invoke(cli, [verb]).stdout
        assert "…" not in shown
        assert max(map(len, shown.splitlines())) <= columns
        if verb == "plugins" and columns >= 80:
            for name in ("projected-gradient", "fashion-mnist", "field-lite-accuracy"):
                assert name in shown

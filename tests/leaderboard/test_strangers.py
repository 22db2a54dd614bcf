"""What a stranger's plugin or file says is shown as text, and its absence is told."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from pydantic import ValidationError

from dpbench.leaderboard import Leaderboard, load, render, write_leaderboard
from dpbench.results import Result
from leaderboard.fabricate import grid, trial

EVIL = "<script>alert(1)</script>"


def test_an_error_with_markup_and_escapes_is_shown_as_it_is() -> None:
    results = grid(seeds=1)
    bad = results[0].model_dump() | {"status": "failed", "reason": f"{EVIL} \x1b[31mred"}
    board = Leaderboard((Result.model_validate(bad), *results[1:]))
    for style in ("table", "markdown", "latex", "html", "csv", "json"):
        text = render(board, style)
        assert "\x1b" not in text, style
        if style in ("markdown", "html"):
            assert EVIL not in text, style


def test_a_row_whose_name_a_terminal_would_obey_is_refused() -> None:
    bad = grid(seeds=1)[0].model_dump() | {"method": "ae-enc-\x1b[31mMine"}
    with pytest.raises(ValidationError, match="no name may have"):
        Result.model_validate(bad)


def test_markdown_shows_a_label_with_markup_as_it_is() -> None:
    results = [
        Result.model_validate(r.model_dump() | {"method": f"ae-enc-{EVIL}"}) for r in grid(seeds=1)
    ]
    for style in ("markdown", "html"):
        assert EVIL not in render(Leaderboard(tuple(results)), style)


def test_rows_of_a_plugin_that_is_gone_are_kept_and_marked() -> None:
    rows = grid(seeds=1)
    gone = [
        Result.model_validate(r.model_dump() | {"generator": "mine", "method": "ae-enc-Mine"})
        for r in rows
        if r.generator == rows[0].generator
    ]
    text = render(Leaderboard((*rows, *gone)), "markdown")
    assert "ae-enc-Mine" in text
    assert "plugin not installed: generator 'mine'; `dpbench clean --uninstalled`" in text
    assert "plugin not installed: generator 'mine'" in render(Leaderboard((*rows, *gone)), "table")
    for style in ("markdown", "table"):
        assert "not installed" not in render(Leaderboard(tuple(rows)), style)


PICTURE = "![x](http://example.org/t.gif)"


def test_a_readme_shows_no_strangers_picture_and_keeps_its_rows(
    tmp_path: Path, save: Callable[[Iterable[Result]], Path]
) -> None:
    record = {
        "command": f"dpbench run\n{EVIL} \\|{PICTURE}",
        "wall_seconds": 1.0,
        "finished": f"2026|{EVIL}\n\n{PICTURE}",
        "versions": {"machine": f"\\{PICTURE}"},
    }
    failed = trial("b-GAN", fid=None, status="failed", reason=f"{PICTURE}\n# Leaderboard of mine")
    runs = save([trial(), failed])
    (runs / "history.json").write_text(json.dumps([record]))
    (runs / "results" / f"{PICTURE[:4]}.json").write_text("{")
    write_leaderboard(runs, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text()
    for text in (re.sub(r"`[^`\n]*`", "", page), render(load(runs), "markdown")):
        assert EVIL not in text
        assert not re.search(r"(?<!\\)(\\\\)*\[x", text)
        assert "\n# Leaderboard of mine" not in text
    (row,) = [line for line in page.splitlines() if line.startswith("| `dpbench run")]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 5  # four cells

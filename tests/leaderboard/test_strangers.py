"""What a stranger's plugin or file says is shown as text, and its absence is told."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from dpbench.leaderboard import Leaderboard, render
from dpbench.results import Result
from leaderboard.fabricate import grid

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

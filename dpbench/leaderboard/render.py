"""A report in the format that is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable

from rich.console import Console

from dpbench.leaderboard.board import Leaderboard
from dpbench.leaderboard.latex import latex
from dpbench.leaderboard.markdown import markdown
from dpbench.leaderboard.records import csv_text, json_text
from dpbench.leaderboard.report import By, Report, make_report
from dpbench.leaderboard.terminal import PLAIN_WIDTH, rich, terminal

__all__ = ["FORMATS", "print_leaderboard", "render"]


def html(report: Report) -> str:
    """Return the page of ``report``."""
    from dpbench.leaderboard.html import make_page  # torch and Pillow take a while

    return make_page(report).text


#: A format is one file and one line here.
FORMATS: dict[str, Callable[[Report], str]] = {
    "table": terminal,
    "markdown": markdown,
    "csv": csv_text,
    "json": json_text,
    "latex": latex,
    "html": html,
}


def render(board: Leaderboard, style: str = "table", by: By = "method") -> str:
    """Return the leaderboard as text in one of :data:`FORMATS`."""
    return FORMATS[style](make_report(board, by))


def print_leaderboard(board: Leaderboard, console: Console, by: By = "method") -> None:
    """Print ``board``.

    Off a terminal it is plain, and 120 columns wide unless ``COLUMNS`` is set.
    """
    report = make_report(board, by)
    if console.is_terminal:
        console.print(rich(report, console.width))
    else:
        width = console.width if "COLUMNS" in os.environ else PLAIN_WIDTH
        console.file.write(terminal(report, width))

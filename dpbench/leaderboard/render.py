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
from dpbench.leaderboard.screen import screen, screen_text
from dpbench.leaderboard.terminal import PLAIN_WIDTH, rich, terminal
from dpbench.leaderboard.view import SHORT, View

__all__ = ["FORMATS", "print_leaderboard", "render"]


def html(report: Report) -> str:
    """Return the page of ``report``."""
    from dpbench.leaderboard.html import make_page  # torch and Pillow take a while

    return make_page(report).text


SCREEN_WIDTH = 100
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


def print_leaderboard(
    board: Leaderboard,
    console: Console,
    by: By | None = None,
    view: View = SHORT,
    width: int | None = None,
    quiet: bool = False,
) -> None:
    """Print ``board`` as one screen of ``view``, or ``by`` something in full.

    Off a terminal it is plain; its width is 100 columns (in full: 120) unless ``COLUMNS``
    or ``width`` says otherwise. ``quiet``: nothing but the tables of one screen.

    Raises:
        UnknownColumn: the results have no such figure, epsilon or axis.
    """
    report = make_report(board, by or "method")
    view.check(board.sections)
    if width is None:
        known = console.is_terminal or "COLUMNS" in os.environ
        width = console.width if known else SCREEN_WIDTH if by is None else PLAIN_WIDTH
    if console.is_terminal:
        shown = screen(report, width, view, quiet) if by is None else rich(report, width)
        console.print(shown, width=width)
    else:
        plain = screen_text(report, width, view, quiet) if by is None else terminal(report, width)
        console.file.write(plain)

"""Where tables go, lines that are said, and what was typed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Collection
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

__all__ = ["command_line", "directory_option", "elsewhere", "plain_table", "say", "table_console"]

#: Width of tables where there is no terminal to ask.
PLAIN_WIDTH = 140


def table_console() -> Console:
    """Return a console on stdout that does not squeeze tables into a pipe's 80 columns.

    ``COLUMNS`` is obeyed in a pipe too.
    """
    console = Console()
    asked = os.environ.get("COLUMNS", "").isdigit()
    return console if console.is_terminal or asked else Console(width=PLAIN_WIDTH)


def plain_table(*headings: str, whole: Collection[str] = ()) -> Table:
    """Return an empty table that folds what is too wide and cuts nothing.

    Columns named by ``whole`` hold names to be typed: they keep to one line while there is room.
    """
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in whole)
    return table


def command_line() -> str:
    """Return this command as it was typed, for the history of a runs directory."""
    return shlex.join(["dpbench", *sys.argv[1:]])


def say(console: Console, line: str) -> None:
    """Print one line as it is: no markup, and no break that a pipe would keep."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def elsewhere(runs: Path) -> str:
    """Say where else to look at the results of a runs directory: a line under a table."""
    where = directory_option(runs)
    return (
        f"page: dpbench open{where}; one trial: dpbench show METHOD@ε{where}; "
        f"all: dpbench leaderboard --detail{where}"
    )


def directory_option(runs: Path) -> str:
    """Return what a command behind it needs to find this runs directory."""
    return "" if runs == Path("runs") else f" --runs {shlex.quote(str(runs))}"

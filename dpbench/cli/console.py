"""Where tables go, lines that are said, and what was typed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from rich.console import Console

__all__ = ["command_line", "directory_option", "elsewhere", "say", "table_console"]

#: Width of tables where there is no terminal to ask.
PLAIN_WIDTH = 140


def table_console() -> Console:
    """Return a console on stdout that does not squeeze tables into a pipe's 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


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

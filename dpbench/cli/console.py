"""Where tables go, and what was typed."""

from __future__ import annotations

import shlex
import sys

from rich.console import Console

__all__ = ["command_line", "table_console"]

#: Width of tables where there is no terminal to ask.
PLAIN_WIDTH = 140


def table_console() -> Console:
    """Return a console on stdout that does not squeeze tables into a pipe's 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def command_line() -> str:
    """Return this command as it was typed, for the history of a runs directory."""
    return shlex.join(["dpbench", *sys.argv[1:]])

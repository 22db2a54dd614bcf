"""Where tables go."""

from __future__ import annotations

from rich.console import Console

__all__ = ["table_console"]

#: Width of tables where there is no terminal to ask.
PLAIN_WIDTH = 140


def table_console() -> Console:
    """Return a console on stdout that does not squeeze tables into a pipe's 80 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)

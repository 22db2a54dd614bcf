"""``dpbench leaderboard``: print the results, or write them as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dpbench.cli.options import method_option, runs_option

__all__ = ["command"]

FORMATS = ["table", "markdown", "csv", "json", "latex", "html"]


@click.command("leaderboard", short_help="Print the results, or write them as a page.")
@runs_option
@click.option("--dataset", help="Only this data set.")
@click.option("--protocol", help="Only this protocol.")
@click.option("--settings", help="Only these settings: default, their digest, or a grid's name.")
@click.option("--grid", help="Only trials of this grid.")
@method_option
@click.option(
    "--by",
    type=click.Choice(["method", "clip"]),
    default="method",
    show_default=True,
    help="The best clip per method and epsilon, or the full sweep.",
)
@click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--write",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write index.html, results.csv and README.md into this directory.",
)
def command(
    runs: Path,
    methods: tuple[str, ...],
    by: Any,
    style: Any,
    directory: Path | None,
    **filters: str | None,
) -> None:
    """Print trials and controls, by method and epsilon; scores of different protocols never mix."""
    from rich.console import Console

    from dpbench.leaderboard import load, print_leaderboard, private_notice, render, write_board

    board = load(runs).filter(methods=methods, **filters)
    if style == "table":
        print_leaderboard(board, Console(), by)
    else:
        click.echo(render(board, style, by), nl=False)
        for file in board.set_aside:  # for a table, a part of it
            click.echo(f"note: left out {runs / str(file)}", err=True)
    if directory is not None:
        written = write_board(board, directory)
        click.echo(f"wrote {len(written.files)} files to {directory}", err=True)
        if notice := private_notice(written):
            click.echo(f"note: {notice}", err=True)

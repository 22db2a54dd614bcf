"""``dpbench leaderboard``: print the results, or write them as a page."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from dpbench.cli.options import method_option, runs_option

__all__ = ["command"]

FORMATS = ["table", "markdown", "csv", "json", "latex", "html"]


@click.command("leaderboard", short_help="Print the results, or write them as a page.")
@runs_option
@click.option("--dataset", help="Only this data set.")
@click.option("--protocol", help="Only this protocol.")
@click.option("--settings", help="Only these settings: default, their digest, or a grid's name.")
@click.option("--grid", "grids", multiple=True, help="Only trials of this grid; repeatable.")
@method_option
@click.option("--detail", is_flag=True, help="Everything: spreads, costs, further figures, notes.")
@click.option(
    "--by",
    metavar="AXIS",
    help="In detail, a row for every clip, seed, or value of a swept axis such as activation.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="These figures instead of fid and is; repeatable.",
)
@click.option("--epsilon", "epsilons", type=float, multiple=True, help="Only these ε; repeatable.")
@click.option(
    "--sort", default="rank", show_default=True, help="Order of rows: rank, method, or a figure."
)
@click.option("--width", type=click.IntRange(40), help="Columns.  [default: the terminal's]")
@click.option("--quiet", is_flag=True, help="Only the tables, with all their rows.")
@click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option(
    "--write",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Also write index.html, results.csv and README.md into this directory.",
)
def command(
    runs: Path,
    grids: tuple[str, ...],
    methods: tuple[str, ...],
    detail: bool,
    by: str | None,
    metrics: tuple[str, ...],
    epsilons: tuple[float, ...],
    sort: str,
    width: int | None,
    quiet: bool,
    style: str,
    directory: Path | None,
    **filters: str | None,
) -> None:
    """Print methods by ε on one screen, best first; scores of different protocols never mix."""
    from rich.console import Console

    from dpbench.cli.console import elsewhere, say
    from dpbench.leaderboard import (
        View,
        load,
        print_leaderboard,
        private_notice,
        render,
        write_board,
    )

    in_full = by or ("method" if detail else None)
    screen = style == "table" and not in_full
    viewed = screen or directory is not None
    _require_effect(
        [
            ("--metric", bool(metrics), viewed),
            ("--epsilon", bool(epsilons), viewed),
            ("--sort", sort != "rank", viewed),
            ("--quiet", quiet, screen),
            ("--width", width is not None, style == "table"),
        ],
        beside=f"--format {style}" if style != "table" else "--by" if by else "--detail",
    )
    board = load(runs).filter(grids=grids, methods=methods, **filters)
    gc.freeze()  # rows are no garbage, and each look of the collector goes over all of them
    click.get_current_context().call_on_close(gc.unfreeze)
    view = View(metrics or View.metrics, epsilons, sort)
    if style == "table":
        console = Console()
        print_leaderboard(board, console, in_full, view, width, quiet)
        if screen and not quiet:
            say(console, elsewhere(runs))
    else:
        click.echo(render(board, style, by or "method"), nl=False)
        for file in board.set_aside:  # for a table, a part of it
            click.echo(f"note: left out {runs / str(file)}", err=True)
    if directory is not None:
        written = write_board(board, directory, view)
        click.echo(f"wrote {len(written.files)} files to {directory}", err=True)
        if notice := private_notice(written):
            click.echo(f"note: {notice}", err=True)


def _require_effect(options: list[tuple[str, bool, bool]], beside: str) -> None:
    """Refuse options that are given and have no effect; each is (name, given, has an effect)."""
    if useless := [name for name, given, effect in options if given and not effect]:
        raise click.UsageError(
            f"{', '.join(useless)}: no effect with {beside}; leave the one or the other out"
        )

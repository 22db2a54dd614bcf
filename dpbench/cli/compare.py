"""``dpbench compare``: which trials moved between two sets of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from dpbench.analysis.compare import Change

__all__ = ["command"]


@click.command("compare", short_help="Tell which trials moved between two sets of results.")
@click.argument("first", metavar="BEFORE")
@click.argument("second", metavar="AFTER")
@click.option("--metric", "figure", default="fid", show_default=True)
@click.option("--across-protocols", is_flag=True, help="Compare unlike protocols all the same.")
@click.option(
    "--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def command(first: str, second: str, figure: str, across_protocols: bool, style: str) -> None:
    """Compare the trials that BEFORE and AFTER have in common, paired over seeds.

    Each is a runs directory or a results.csv, with :GRID behind it for one grid's (or
    settings') rows: `dpbench compare runs:all runs:priors`. Verdicts hold at 95% for all
    trials together. Exits with 1 if some trial is surely worse.
    """
    import dataclasses
    import json

    from dpbench.analysis.compare import compare
    from dpbench.cli.console import table_console
    from dpbench.described import described

    columns = described().figures
    if figure not in columns or columns[figure].better == "none":
        known = ", ".join(name for name, column in columns.items() if column.better != "none")
        raise click.UsageError(f"--metric {figure}: choose from {known}")
    changes = compare(first, second, figure, columns[figure].better, across_protocols)
    if style == "json":
        click.echo(json.dumps([dataclasses.asdict(change) for change in changes], indent=2))
    else:
        table_console().print(_table(changes, figure))
        counts = {v: sum(c.verdict == v for c in changes) for v in ("worse", "better", "equal")}
        click.echo(
            f"{len(changes)} trials in common: {counts['worse']} surely worse, "
            f"{counts['better']} surely better, {counts['equal']} equal to the last bit"
        )
    raise SystemExit(any(change.verdict == "worse" for change in changes))


def _table(changes: Sequence[Change], figure: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table("trial", "seeds", "before", "after", "ratio", "verdict", box=SIMPLE_HEAD)
    table.title, table.title_justify = figure, "left"
    several = len({change.trial["dataset"] for change in changes}) > 1
    for change in changes:
        named = change.trial
        name = f"{named['method']}@{named.get('epsilon', 0):g} clip {named.get('clip', 0):g}"
        name += f", {named['dataset']}" if several else ""
        colour = {"worse": "red", "better": "green"}.get(change.verdict, "default")
        table.add_row(
            escape(name),
            str(change.seeds),
            f"{change.before:.4g}",
            f"{change.after:.4g}",
            f"{change.ratio:.3f}",
            f"[{colour}]{change.verdict}[/{colour}]",
        )
    return table

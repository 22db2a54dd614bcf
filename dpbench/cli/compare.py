"""``dpbench compare``: which trials moved between two sets of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from dpbench.analysis.compare import Change

__all__ = ["command"]

#: What every trial is named by; the rest is told where it differs.
NAMED = ("method", "epsilon", "noise_multiplier", "clip")


@click.command("compare", short_help="Tell which trials moved between two sets of results.")
@click.argument("first", metavar="BEFORE")
@click.argument("second", metavar="AFTER")
@click.option("--metric", "figure", default="fid", show_default=True, help="What to compare.")
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
    from dpbench.results.reading import finite

    columns = described().figures
    if figure not in columns or columns[figure].better == "none":
        known = ", ".join(name for name, column in columns.items() if column.better != "none")
        raise click.UsageError(f"--metric {figure}: choose from {known}")
    changes = compare(first, second, figure, columns[figure].better, across_protocols)
    if style == "json":
        rows = [dataclasses.asdict(change) for change in changes]
        click.echo(json.dumps(finite(rows), indent=2))
    else:
        table_console().print(_table(changes, figure))
        counts = {v: sum(c.verdict == v for c in changes) for v in ("worse", "better", "equal")}
        click.echo(
            f"{len(changes)} trials in common: {counts['worse']} surely worse, "
            f"{counts['better']} surely better, {counts['equal']} equal to the last bit"
        )
    raise SystemExit(any(change.verdict == "worse" for change in changes))


def _table(changes: Sequence[Change], figure: str) -> Table:
    from rich.markup import escape

    from dpbench.cli.console import plain_table

    table = plain_table("trial", "seeds", "before", "after", "ratio", "verdict")
    table.title, table.title_justify = figure, "left"
    telling = _telling([change.trial for change in changes])
    for change in changes:
        colour = {"worse": "red", "better": "green"}.get(change.verdict, "default")
        table.add_row(
            escape(_name(change.trial, telling)),
            str(change.seeds),
            f"{change.before:.4g}",
            f"{change.after:.4g}",
            f"{change.ratio:.3f}",
            f"[{colour}]{change.verdict}[/{colour}]",
        )
    return table


def _telling(trials: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what else tells trials apart: data set, labels, settings, swept parameters."""
    names = dict.fromkeys(name for trial in trials for name in trial)
    return [n for n in names if n not in NAMED and len({trial.get(n) for trial in trials}) > 1]


def _name(trial: Mapping[str, Any], telling: Sequence[str]) -> str:
    noise = trial.get("noise_multiplier")
    target = f"σ={noise:g}" if noise is not None else f"{trial.get('epsilon', 0):g}"
    name = f"{trial['method']}@{target} clip {trial.get('clip', 0):g}"
    return ", ".join([name, *(f"{_short(n)} = {trial[n]}" for n in telling if n in trial)])


def _short(column: str) -> str:
    axis = column.startswith("axes.")
    return column.rpartition(".")[2] if axis else column.removesuffix(".name")

"""``dpbench status``: where a run stands, from another terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dpbench.cli.options import runs_option

if TYPE_CHECKING:
    from rich.table import Table

    from dpbench.runner.status import Standing

__all__ = ["command"]


@click.command("status", short_help="Show where a run stands, from another terminal.")
@runs_option
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table")
def command(runs: Path, style: str) -> None:
    """Show what is done, runs, failed and is left, how long it will take, and what it fills.

    Reads the runs directory alone, and disturbs nothing.
    """
    from rich.console import Console

    from dpbench.cli.console import say
    from dpbench.errors import DpbenchError
    from dpbench.runner.status import read_standing, sizes

    if not runs.exists():
        raise DpbenchError(f"no runs under {runs}: name the directory of a run with --runs")
    standing = read_standing(runs)
    if style == "json":
        click.echo(standing.model_dump_json(indent=2) if standing else "null")
        return
    console = Console()
    say(console, _headline(standing))
    if standing:
        console.print(_stages(standing))
        for title, fraction in standing.running:
            say(console, f"running: {title} ({fraction:.0%})")
        for failure in standing.failures:
            say(console, f"failed: {failure}")
    say(console, _results(runs))
    filled = list(sizes(runs))
    total = sum(size for _, _, size in filled)
    each = ", ".join(f"{stage} {_bytes(size)} ({count})" for stage, count, size in filled)
    say(console, f"on disk: {_bytes(total)}{': ' + each if each else ''}")


def _headline(standing: Standing | None) -> str:
    from dpbench.leaderboard.words import duration

    if standing is None:
        return "no run has begun here, or it was one of an earlier version"
    took = duration(standing.updated - standing.started)
    where = f"{standing.command} (process {standing.pid} on {standing.host})"
    if standing.ended and not standing.left:
        return f"ended after {took}: {where}"
    if standing.ended:
        return f"stopped after {took}; the same command goes on from there: {where}"
    if (silence := standing.silent) is not None:
        return f"stopped {duration(silence)} ago; the same command goes on from there: {where}"
    left = standing.seconds_left
    rest = "estimating" if left is None else f"about {duration(left)} left"
    return f"running for {took}, {rest}: {where}"


def _stages(standing: Standing) -> Table:
    from rich.table import Table

    table = Table("stage", "done", "running", "failed", "left")
    for stage, count in sorted(standing.stages.items(), key=lambda item: item[1].place):
        figures = (count.done, count.running, count.failed, count.left)
        table.add_row(count.title or stage, *map(str, figures))
    return table


def _results(runs: Path) -> str:
    """Say how many trials have a row, by status."""
    from collections import Counter

    from dpbench.results import load_results

    counts = Counter(r.status for r in load_results(runs) if not r.is_control)
    words = ", ".join(f"{count} {status}" for status, count in counts.items())
    return f"trials with a row: {words or 'none'}"


def _bytes(size: float) -> str:
    """Return a size as people say it: ``3.1 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.{0 if unit == 'B' else 1}f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"

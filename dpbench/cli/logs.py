"""``dpbench logs``: what the tasks of a trial printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dpbench.cli.options import labels_option, runs_option

__all__ = ["command"]


@click.command("logs", short_help="Print what the tasks of a trial printed.")
@click.argument("trial", metavar="METHOD@EPSILON")
@click.option("--clip", type=float, help="Of several clips, this one.")
@click.option("--dataset", help="Of several data sets, this one.")
@labels_option
@runs_option
def command(trial: str, clip: float | None, dataset: str | None, labels: Any, runs: Path) -> None:
    """Print the logs of a trial's tasks: public model, latents, generator, scores.

    A task that printed nothing leaves none.
    """
    from dpbench.results import load_results
    from dpbench.results.find import find_trial
    from dpbench.runner.directory import RunDirectory
    from dpbench.upkeep.logs import logs_of

    results = load_results(runs)
    chosen = find_trial(results, trial, clip=clip, dataset=dataset, labels=labels)
    found = list(logs_of(RunDirectory(runs).logs, chosen, results))
    if not found:
        click.echo(f"{trial}: no task of it printed anything", err=True)
    if chosen.reason:
        click.echo(f"{chosen.status}: {chosen.reason}", err=True)
    for path in found:
        click.echo(f"== {path}", err=True)
        click.echo(path.read_text(encoding="utf-8", errors="replace"), nl=False)

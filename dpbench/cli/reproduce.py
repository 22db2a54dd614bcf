"""``dpbench reproduce``: run a trial again and compare it to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dpbench.cli.options import (
    MakeExecutor,
    config_option,
    executor_options,
    labels_option,
    runs_option,
)

__all__ = ["command"]


@click.command("reproduce", short_help="Run a trial again; compare it to the last bit.")
@click.argument("trial", metavar="METHOD@EPSILON")
@click.option("--clip", type=float, help="Of several clips, this one.")
@click.option("--dataset", help="Of several data sets, this one.")
@labels_option
@click.option("--whole", is_flag=True, help="Make all that it rests on again, too.")
@config_option
@runs_option
@executor_options
def command(
    trial: str,
    clip: float | None,
    dataset: str | None,
    labels: Any,
    whole: bool,
    config: Path | None,
    runs: Path,
    make_executor: MakeExecutor,
) -> None:
    """Run a trial of a finished run again, in a directory of its own, and compare.

    Exits with 0 if generator, samples and figures are the same to the last bit, else 1.
    """
    from rich.console import Console

    from dpbench.cli.console import say
    from dpbench.planning.config import load_config
    from dpbench.plugins import registry
    from dpbench.results import load_results
    from dpbench.results.find import find_trial
    from dpbench.runner.directory import RunDirectory
    from dpbench.upkeep.reproduce import elsewhere, reproduce

    notes = Console(stderr=True)
    chosen = find_trial(load_results(runs), trial, clip=clip, dataset=dataset, labels=labels)
    found = reproduce(
        load_config(config, registry()),
        chosen,
        RunDirectory(runs),
        make_executor,
        whole=whole,
        notice=lambda line: say(notes, line),
    )
    for difference in found:
        click.echo(f"{difference.where}: {difference.what}")
    if found and (note := elsewhere(runs)):
        say(notes, note)
    if not found:
        click.echo(f"{trial}, seed {chosen.seed}: the same to the last bit")
    raise SystemExit(bool(found))

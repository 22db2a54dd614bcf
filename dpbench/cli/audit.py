"""``dpbench audit``: attack a method, and bound its epsilon from below."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dpbench.cli.options import (
    config_option,
    device_option,
    labels_axis_option,
    method_option,
    patterns,
    runs_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from dpbench.privacy.audit.result import AuditResult
    from dpbench.results.identity import Labels
    from dpbench.runner.prepare import Prepared

__all__ = ["command"]


@click.command("audit", short_help="Attack a method; bound its epsilon from below.")
@click.argument("method", required=False)
@method_option
@click.option("--grid", "grids", multiple=True, help="Only its trials; repeatable.  [default: all]")
@click.option("--epsilon", type=float, multiple=True, help="Instead of the grid's; repeatable.")
@click.option("--clip", type=float, multiple=True, help="Instead of the grid's; repeatable.")
@click.option("--dataset", help="Data set, instead of the grid's.")
@labels_axis_option
@click.option(
    "--kind",
    type=click.Choice(["many-run", "one-run", "replay"]),
    default="many-run",
    show_default=True,
    help="many-run: one planted record, in half of many trainings; one-run: many planted "
    "records, each in or out by a coin, in one; replay: no attack.",
)
@click.option(
    "--trainings",
    type=click.IntRange(16),
    default=400,
    show_default=True,
    help="Of a many-run audit.",
)
@click.option(
    "--canaries",
    type=click.IntRange(10),
    default=200,
    show_default=True,
    help="Planted records of a one-run audit.",
)
@click.option(
    "--records",
    type=click.IntRange(10),
    default=500,
    show_default=True,
    help="Private records to keep; among fewer a planted one shows more.",
)
@click.option(
    "--seed", "seeds", type=int, multiple=True, help="Of the audit's own draws.  [default: 0]"
)
@click.option(
    "--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@config_option
@device_option
@runs_option
def command(
    method: str | None,
    methods: tuple[str, ...],
    grids: tuple[str, ...],
    epsilon: tuple[float, ...],
    clip: tuple[float, ...],
    dataset: str | None,
    labels: tuple[Labels, ...],
    kind: str,
    trainings: int,
    canaries: int,
    records: int,
    seeds: tuple[int, ...],
    style: str,
    config: Path | None,
    device: str,
    runs: Path,
) -> None:
    """Train METHOD with and without planted records and try to tell which.

    METHOD is a name, glob or component, as of --method; by default all are audited.

    With --grid, trials have that grid's hyperparameters and are audited in the company in
    which a run of it trains them.

    With --kind replay nothing is attacked: a fit is replayed on other records with its
    recorded releases, and all that leaves it must stay the same. It takes seconds.

    A bound above the epsilon claimed refutes the claim: exit code 1. A bound
    below it proves nothing. The leaderboard shows the bound beside epsilon, of
    trials with any seed.
    """
    if len(seeds) > 1:
        raise click.UsageError("an audit has one --seed, and holds for trials with any")
    import functools
    import json
    from typing import cast

    from rich.console import Console

    from dpbench.cli.console import command_line, say, table_console
    from dpbench.executors.device import choose_device
    from dpbench.planning.config import load_config
    from dpbench.planning.plan import Options
    from dpbench.planning.trials import Request
    from dpbench.plugins import registry
    from dpbench.privacy.audit import AuditKind, Effort
    from dpbench.results import to_json
    from dpbench.runner.audits import audit
    from dpbench.runner.directory import RunDirectory
    from dpbench.runner.prepare import prepare

    notes = Console(stderr=True)
    directory = RunDirectory(runs)
    prepared = prepare(
        load_config(config, registry()),
        Request(
            grids or ("all",),
            dataset,
            epsilon,
            clip=clip,
            methods=patterns(method, methods),
            labels=labels,
        ),
        directory,
        Options(controls=False, replay_all=kind == "replay"),
    )
    if kind == "replay":
        raise SystemExit(_replay(prepared, device, style))
    effort = Effort(cast(AuditKind, kind), trainings, canaries, records)
    started, seed = time.monotonic(), seeds[0] if seeds else 0
    found = audit(prepared, choose_device(device), effort, seed, functools.partial(say, notes))
    directory.record(command_line(), time.monotonic() - started, len(found))
    if style == "json":
        rows = [{"trial": title, **to_json(result)} for title, result in found]
        click.echo(json.dumps(rows, indent=2))
    else:
        table_console().print(_table(found))
    raise SystemExit(1 if any(result.refuted for _, result in found) else 0)


def _table(found: Sequence[tuple[str, AuditResult]]) -> Table:
    from rich.markup import escape

    from dpbench.cli.console import plain_table

    table = plain_table(
        "trial", "claimed ε", "ε at least", "by a Gaussian-DP fit", "could show", "right", "by",
        "verdict",
    )  # fmt: skip
    for title, result in found:
        table.add_row(
            escape(title),
            f"{result.epsilon_claimed:.3g}",
            f"{result.epsilon_lower:.3g}",
            "" if result.epsilon_lower_gdp is None else f"{result.epsilon_lower_gdp:.3g}",
            f"{result.epsilon_ceiling:.3g}",
            f"{result.correct}/{result.guesses}",
            escape(result.score),
            "[red]refuted[/red]" if result.refuted else "not refuted",
        )
    return table


def _replay(prepared: Prepared, device: str, style: str) -> int:
    """Replay what was asked for, print the verdicts, and return the exit code."""
    import functools
    import json

    from rich.console import Console
    from rich.markup import escape

    from dpbench.cli.console import command_line, plain_table, say, table_console
    from dpbench.executors.device import choose_device
    from dpbench.runner.replays import replay_methods

    started, notice = time.monotonic(), functools.partial(say, Console(stderr=True))
    found = replay_methods(prepared, choose_device(device), notice)
    prepared.directory.record(command_line(), time.monotonic() - started, len(found))
    if style == "json":
        rows = [
            {"method": f.method, "trials": f.trials, **f.verdict.model_dump(mode="json")}
            for f in found
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        table = plain_table("method", "trials", "verdict", "why", "releases", "s")
        for f in found:
            colour = "[red]failed[/red]" if f.verdict.verdict == "failed" else f.verdict.verdict
            seconds = "" if f.seconds is None else f"{f.seconds:.1f}"
            releases = str(f.verdict.releases)
            why = escape(f.verdict.reason)
            table.add_row(escape(f.method), str(f.trials), colour, why, releases, seconds)
        table_console().print(table)
    return int(any(f.verdict.verdict == "failed" for f in found))

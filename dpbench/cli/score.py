"""``dpbench score``: compute further metrics of a finished grid; trains nothing."""

from __future__ import annotations

import functools
import time

import click

from dpbench.cli.options import Chosen, MakeExecutor, executor_options, grid_options

__all__ = ["command"]


@click.command("score", short_help="Score a finished grid by further metrics; trains nothing.")
@grid_options
@executor_options
@click.option("--metrics", required=True, help="Comma-separated names, added to the protocol's.")
def command(
    chosen: Chosen,
    make_executor: MakeExecutor,
    metrics: str,
) -> None:
    """Score trials that are already trained; those that are not are left out, with a note."""
    from rich.console import Console

    from dpbench.cli.console import command_line
    from dpbench.cli.live import LiveView, say
    from dpbench.leaderboard import load, print_leaderboard
    from dpbench.planning.config import load_config
    from dpbench.planning.plan import Options
    from dpbench.plugins import registry
    from dpbench.runner.data import cache_directory
    from dpbench.runner.directory import RunDirectory
    from dpbench.runner.execute import execute
    from dpbench.runner.prepare import keep_trained, prepare

    console = Console()
    started = time.monotonic()
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    directory = RunDirectory(chosen.runs)
    prepared = prepare(
        load_config(chosen.config, registry()).with_metrics(names),
        chosen.request,
        directory,
        Options(inception_weights=chosen.weights, cache=str(cache_directory())),
        notice=functools.partial(say, console),
    )
    untrained = keep_trained(prepared)
    if untrained:
        say(console, f"{untrained} trials are not trained yet and left out: dpbench run")
    executor = make_executor(prepared)
    with directory.lock(), LiveView(console) as view:
        results = execute(prepared, executor, view.update)
        seconds = time.monotonic() - started
        directory.record(command_line(), seconds, len(prepared.plan.jobs))
    board = load(directory.root).only({result.key for result in results})
    print_leaderboard(board, console)
    raise SystemExit(0 if all(r.status in ("ok", "collapsed") for r in results) else 1)

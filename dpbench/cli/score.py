"""``dpbench score``: compute further metrics of a finished grid; trains nothing."""

from __future__ import annotations

import functools
import shlex
import time
from pathlib import Path

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

    from dpbench.cli.carry import carry_out, exit_code
    from dpbench.cli.console import say
    from dpbench.leaderboard import print_leaderboard
    from dpbench.leaderboard.words import count_text
    from dpbench.planning.config import load_config
    from dpbench.planning.plan import Options
    from dpbench.plugins import registry
    from dpbench.runner.directory import RunDirectory
    from dpbench.runner.prepare import keep_trained, prepare
    from dpbench.runner.protocols import automatic

    console = Console()
    started = time.monotonic()
    names = [name.strip() for name in metrics.split(",") if name.strip()]
    config = load_config(chosen.config, registry()).with_metrics(names)
    directory = RunDirectory(chosen.runs)
    executor = make_executor(config, directory)
    # The protocols that a run had:
    config, _ = automatic(config, chosen.request, chosen.weights, executor.place.device)
    prepared = prepare(
        config,
        chosen.request,
        directory,
        Options(weights=chosen.weights),
        notice=functools.partial(say, console),
    )
    untrained = keep_trained(prepared)
    if untrained:
        say(
            console, f"not trained yet and left out: {count_text(untrained, 'trial')} (dpbench run)"
        )
    board = carry_out(prepared, executor, console, started)
    print_leaderboard(board, console)
    plugins = [config.component("metrics", name).plugin for name in names]
    figures = [key for name in plugins for key in registry().classes["metric"][name].cls.columns]
    there = {key for result in board.results for key in result.metrics}
    if computed := [key for key in figures if key in there]:
        say(console, f"what was computed: {_leaderboard_of(computed, chosen.runs)}")
    raise SystemExit(exit_code(board.results))


def _leaderboard_of(figures: list[str], runs: Path) -> str:
    """Return the command that shows figures."""
    where = [] if runs == Path("runs") else ["--runs", str(runs)]
    shown = [word for figure in figures for word in ("--metric", figure)]
    return shlex.join(["dpbench", "leaderboard", *where, *shown])

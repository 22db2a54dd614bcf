"""``dpbench run``: train and score a grid."""

from __future__ import annotations

import functools
import time

import click

from dpbench.cli.options import Chosen, MakeExecutor, executor_options, grid_options

__all__ = ["command"]


@click.command("run", short_help="Train and score a grid; write its leaderboard.")
@grid_options
@executor_options
@click.option("--dry-run", is_flag=True, help="Show the plan and what is cached; compute nothing.")
@click.option("--fresh", is_flag=True, help="Compute everything again, cached or not.")
@click.option("--quiet", is_flag=True, help="Say nothing but the leaderboard.")
@click.option("--controls/--no-controls", default=True, help="Score the four controls as well.")
def command(
    chosen: Chosen,
    make_executor: MakeExecutor,
    dry_run: bool,
    fresh: bool,
    controls: bool,
    quiet: bool,
) -> None:
    """Train and score every trial of a grid, then print its leaderboard.

    What is already computed is not computed again; a run that was killed goes
    on where it stopped. Exits with 0 only if every trial succeeded.
    """
    from rich.console import Console

    from dpbench.cli.carry import carry_out, exit_code
    from dpbench.cli.console import say
    from dpbench.cli.live import print_end, print_plan
    from dpbench.leaderboard import print_leaderboard, private_notice, write_leaderboard
    from dpbench.planning.config import load_config
    from dpbench.planning.plan import Options
    from dpbench.plugins import registry
    from dpbench.runner.directory import RunDirectory
    from dpbench.runner.prepare import prepare
    from dpbench.runner.protocols import automatic

    shown, console = Console(), Console(quiet=quiet)
    started = time.monotonic()
    config, directory = load_config(chosen.config, registry()), RunDirectory(chosen.runs)
    executor = make_executor(config, directory)
    config, missing = automatic(config, chosen.request, chosen.weights, executor.place.device)
    prepared = prepare(
        config,
        chosen.request,
        directory,
        Options(
            weights=chosen.weights,
            controls=controls,
            fresh=fresh,
        ),
        notice=functools.partial(say, console),
        keep=not dry_run,
    )
    if missing:
        say(console, missing)
    print_plan(prepared, console)
    if dry_run:
        return
    with directory.lock(prepared.patience):  # until the page is written
        board = carry_out(prepared, executor, console, started)
        print_leaderboard(board, shown, quiet=quiet)
        written = write_leaderboard(directory.root, directory.leaderboard)
    if notice := private_notice(written):
        say(shown, notice)
    print_end(console, board.results, time.monotonic() - started, directory.leaderboard)
    raise SystemExit(exit_code(board.results))

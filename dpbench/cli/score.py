"""``dpbench score``: compute further metrics of a finished grid; trains nothing."""

from __future__ import annotations

from pathlib import Path

import click

from dpbench.cli.options import device_option, grid_options

__all__ = ["command"]


@click.command("score", short_help="Score a finished grid by further metrics; trains nothing.")
@grid_options
@device_option
@click.option("--workers", type=click.IntRange(1), help="Worker processes.  [default: one a core]")
@click.option("--metrics", required=True, help="Comma-separated names, added to the protocol's.")
def command(
    grids: tuple[str, ...],
    config: Path | None,
    dataset: str | None,
    epsilon: tuple[float, ...],
    noise_multiplier: tuple[float, ...],
    clip: tuple[float, ...],
    seeds: tuple[int, ...],
    protocols: tuple[str, ...],
    inception_weights: Path | None,
    runs: Path,
    device: str,
    workers: int | None,
    metrics: str,
) -> None:
    """Score trials that are already trained; those that are not are left out, with a note."""
    from rich.console import Console

    from dpbench import runner
    from dpbench.cli.live import LiveView
    from dpbench.config import load_config
    from dpbench.grid import Selection
    from dpbench.leaderboard import print_leaderboard
    from dpbench.plan import Options
    from dpbench.plugins import registry

    console = Console()
    loaded = load_config(config, registry()).with_metrics(
        [name.strip() for name in metrics.split(",") if name.strip()]
    )
    prepared = runner.prepare(
        loaded,
        Selection(grids, dataset, epsilon, noise_multiplier, clip, seeds, protocols),
        runs,
        Options(
            inception_weights=str(inception_weights) if inception_weights else None,
            cache=str(runner.cache_directory()),
        ),
        notice=console.print,
    )
    untrained = runner.keep_trained(prepared)
    if untrained:
        console.print(f"{untrained} trials are not trained yet and left out: dpbench run")
    chosen = runner.choose_device(device)
    executor = runner.local_executor(loaded, runs, chosen, workers)
    with LiveView(console) as view:
        results = runner.execute(prepared, executor, view.update)
    print_leaderboard(results, console)
    raise SystemExit(0 if all(r.status in ("ok", "collapsed") for r in results) else 1)

"""``dpbench statement``: what a trial's privacy guarantee is, and what it is not."""

from __future__ import annotations

from pathlib import Path

import click

from dpbench.cli.options import runs_option

__all__ = ["command"]


@click.command("statement", short_help="Print the privacy statement of trials.")
@click.argument("method")
@click.option("--epsilon", type=float, multiple=True, help="Only these targets.")
@click.option("--clip", type=float, multiple=True, help="Only these clips.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Only these seeds.")
@click.option("--dataset", help="Only this data set.")
@click.option("--settings", help="Only these settings: default, their digest, or a grid's name.")
@runs_option
def command(
    method: str,
    epsilon: tuple[float, ...],
    clip: tuple[float, ...],
    seeds: tuple[int, ...],
    dataset: str | None,
    settings: str | None,
    runs: Path,
) -> None:
    """Print, as Markdown, the privacy statement of each finished trial of METHOD (a name or glob).

    Adjacency, unit, delta, both accountants, every mechanism, sampling, audit,
    randomness, the cost of choosing among the trials shown, and what is not covered.
    """
    from dpbench.leaderboard import load
    from dpbench.privacy.selection import selection_cost
    from dpbench.privacy.statement import privacy_statement
    from dpbench.results import rivals

    board = load(runs).filter(dataset=dataset, settings=settings, methods=[method])
    found = {
        result.identity_key: result
        for result in board.results
        if result.privacy
        and (not epsilon or result.epsilon in epsilon)
        and (not clip or result.clip in clip)
        and (not seeds or result.seed in seeds)
    }
    if not found:
        raise click.UsageError("no finished trial matches: see `dpbench leaderboard --by clip`")
    for result in found.values():
        trials = rivals(board.results, result)
        ledgers = [trial.privacy.ledger.mechanisms for trial in trials if trial.privacy]
        choice = (
            selection_cost(ledgers, result.delta) if len(ledgers) > 1 and result.delta else None
        )
        click.echo(privacy_statement(result, choice))

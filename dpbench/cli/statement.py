"""``dpbench statement``: what a trial's privacy guarantee is, and what it is not."""

from __future__ import annotations

from pathlib import Path

import click

from dpbench.cli.options import method_option, patterns, runs_option

__all__ = ["command"]


@click.command("statement", short_help="Print the privacy statement of trials.")
@click.argument("method", required=False)
@method_option
@click.option("--epsilon", type=float, multiple=True, help="Only these targets; repeatable.")
@click.option("--clip", type=float, multiple=True, help="Only these clips; repeatable.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Only these seeds; repeatable.")
@click.option("--dataset", help="Only this data set.")
@click.option("--settings", help="Only these settings: default, their digest, or a grid's name.")
@click.option("--grid", "grids", multiple=True, help="Only trials of this grid; repeatable.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["markdown", "json"]),
    default="markdown",
    show_default=True,
)
@runs_option
def command(
    method: str | None,
    methods: tuple[str, ...],
    epsilon: tuple[float, ...],
    clip: tuple[float, ...],
    seeds: tuple[int, ...],
    dataset: str | None,
    settings: str | None,
    grids: tuple[str, ...],
    style: str,
    runs: Path,
) -> None:
    """Print the privacy statement of each finished trial of METHOD (as --method names it).

    Flavour, unit, adjacency, the four epsilons, composition by two accountants, every
    mechanism, sampling, audit, randomness, selection, implementation, rationale, and what
    is not covered. As JSON it holds the ledger for `recompute_epsilon.py`.
    """
    import json

    from dpbench.leaderboard import load
    from dpbench.privacy.statement import make_statement
    from dpbench.results import rivals, selection, to_json

    everything = load(runs)
    board = everything.filter(
        dataset=dataset, settings=settings, methods=patterns(method, methods), grids=grids
    )
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
    # What is not asked for was chosen among all the same.
    made = [
        make_statement(result, selection([result], rivals(everything.results, result)))
        for result in found.values()
    ]
    statements = [statement for statement in made if statement]
    if style == "json":
        click.echo(json.dumps([to_json(s) for s in statements], indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(statement.markdown() for statement in statements))

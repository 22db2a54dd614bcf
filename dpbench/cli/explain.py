"""``dpbench explain``: what the scores of a run come from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dpbench.cli.options import runs_option

if TYPE_CHECKING:
    from dpbench.analysis.explain import Explanation

__all__ = ["command"]


@click.command("explain", short_help="Tell what the scores come from, in plain sentences.")
@runs_option
@click.option("--dataset", help="Only this data set.")
@click.option("--protocol", help="Only this protocol.")
@click.option("--settings", help="Only these settings: default, their digest, or a grid's name.")
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw the shares as a picture."
)
def command(
    runs: Path,
    dataset: str | None,
    protocol: str | None,
    settings: str | None,
    plot: Path | None,
) -> None:
    """Attribute the variance of log FID to what was varied, and say what follows.

    Which method is best and by how much, whether the clips were too narrow, which stage
    bounds quality, and whether training improves on its start.
    """
    from dpbench.analysis.explain import explain
    from dpbench.cli.console import table_console
    from dpbench.leaderboard import load
    from dpbench.leaderboard.words import count_text

    board = load(runs).filter(dataset=dataset, protocol=protocol, settings=settings)
    found = [explain(section) for section in board.sections if section.trials]
    console = table_console()
    for explanation in found:
        console.print(
            f"{explanation.title}: {count_text(explanation.trials, 'trial')}",
            markup=False,
            highlight=False,
        )
        for share in explanation.shares:
            bar = "█" * round(40 * max(share.share, 0))
            console.print(
                f"  {share.factor:<24}{share.share:>6.1%} {bar}", markup=False, highlight=False
            )
        for sentence in explanation.sentences or _nothing(explanation):
            console.print(f"- {sentence}", markup=False, highlight=False, soft_wrap=True)
    if plot is not None:
        from dpbench.analysis.picture import draw_shares

        draw_shares(found, plot)
        click.echo(f"wrote {plot}", err=True)


def _nothing(explanation: Explanation) -> tuple[str, ...]:
    return () if explanation.shares else ("Too few trials that differ: they explain nothing.",)

"""``dpbench show``: everything that is known of one trial."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from dpbench.cli.options import config_option, runs_option

__all__ = ["command"]


@click.command("show", short_help="Show everything of one trial: scores, privacy, samples.")
@click.argument("trial")
@runs_option
@config_option
@click.option("--dataset", help="Only this data set.")
@click.option("--protocol", help="Only this protocol.")
@click.option("--clip", type=float, help="Not the clip that stands for its method, but this one.")
@click.option("--seed", type=int, help="Not the first seed, but this one.")
@click.option(
    "--images",
    type=click.Choice(["auto", "kitty", "iterm", "sixel", "blocks", "none"]),
    default="auto",
    show_default=True,
    help="How samples are shown in the terminal.",
)
def command(
    trial: str,
    runs: Path,
    config: Path | None,
    dataset: str | None,
    protocol: str | None,
    clip: float | None,
    seed: int | None,
    images: str,
) -> None:
    """Show TRIAL: METHOD@EPSILON, the beginning of its key, or a row of `leaderboard --by seed`."""
    from dpbench.errors import DpbenchError
    from dpbench.leaderboard import load
    from dpbench.leaderboard.dossier import find, parameters_of
    from dpbench.leaderboard.finished import FinishedTrial
    from dpbench.leaderboard.pictures import mosaic
    from dpbench.planning.config import load_config
    from dpbench.plugins import registry

    board = load(runs).filter(dataset=dataset, protocol=protocol)
    found = find(board, trial, clip, seed)
    parameters = parameters_of(found.result, load_config(config, registry()))
    _print(found.lines(parameters, runs))
    try:
        samples = FinishedTrial(found.result, runs).samples
    except DpbenchError as missing:
        click.echo(f"samples\n  {missing}")
        return
    _show_samples(mosaic(samples[:20], 10), runs, found.result.key, images)


def _print(lines: Iterable[tuple[str, str]]) -> None:
    width = max(shutil.get_terminal_size((100, 24)).columns, 40)
    for heading, texts in groupby(lines, key=lambda line: line[0]):
        click.secho(heading, bold=True)
        for _, text in texts:
            click.echo(textwrap.fill(text, width, initial_indent="  ", subsequent_indent="    "))


def _show_samples(pixels: Any, runs: Path, key: str, images: str) -> None:
    """Write samples as PNG into the runs directory; show them where there is a terminal."""
    from PIL import Image

    from dpbench.cli.images import inline, protocol_of

    path = runs / "samples" / f"{key[:10]}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    click.secho("samples", bold=True)
    click.echo(f"  {path}")
    if images == "none" or (images == "auto" and not sys.stdout.isatty()):
        return
    kind = protocol_of() if images == "auto" else images
    sys.stdout.write(inline(pixels, kind, shutil.get_terminal_size().columns))

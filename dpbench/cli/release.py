"""``dpbench release``: synthetic images that a data owner may share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dpbench.cli.options import config_option, device_option, labels_option, runs_option

if TYPE_CHECKING:
    from dpbench.results.identity import Labels

__all__ = ["command"]


@click.command("release", short_help="Write synthetic images that may be shared.")
@click.argument("trial", metavar="METHOD@EPSILON")
@click.option("--clip", type=float, help="Of several clips, this one.")
@click.option("--dataset", help="Of several data sets, this one.")
@labels_option
@click.option(
    "--n",
    "count",
    type=click.IntRange(1),
    default=10000,
    show_default=True,
    help="How many images.",
)
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where to put the release.",
)
@click.option("--licence", default="No licence was stated; ask the publisher", help="Its licence.")
@click.option("--creator", default="the data owner", help="Who publishes it.")
@click.option("--force", is_flag=True, help="Release in spite of objections, and say so.")
@config_option
@device_option
@runs_option
def command(
    trial: str,
    clip: float | None,
    dataset: str | None,
    labels: Labels | None,
    count: int,
    to: Path,
    licence: str,
    creator: str,
    force: bool,
    config: Path | None,
    device: str,
    runs: Path,
) -> None:
    """Learn a trial of a finished run anew with secret noise, and write its images to --to.

    The directory holds images (npz, PNG; with labels where it learnt any), a sampler that
    draws more, a data card, the privacy statement with its ledger and the script that
    recomputes epsilon, and a Croissant file. No private image, seed or private key is in it.

    Refused are trials without privacy, over budget, refuted, collapsed or self-declared,
    and a choice by private scores.
    """
    from rich.console import Console

    from dpbench.cli.console import say
    from dpbench.executors.device import choose_device
    from dpbench.planning.config import load_config
    from dpbench.plugins import registry
    from dpbench.privacy.statement import in_short
    from dpbench.release.release import release
    from dpbench.runner.directory import RunDirectory

    console = Console(stderr=True)
    made = release(
        load_config(config, registry()),
        RunDirectory(runs),
        trial,
        to,
        clip=clip,
        dataset=dataset,
        labels=labels,
        count=count,
        force=force,
        device=choose_device(device),
        licence=licence,
        creator=creator,
        notice=lambda line: say(console, line),
    )
    click.echo(f"{count} images, {in_short(made)}: {to}")

"""``dpbench data``: show data sets, fetch them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from dpbench.cli.options import config_option

__all__ = ["command"]


@click.command("data", short_help="Show data sets and their partitions; fetch them.")
@click.argument("names", nargs=-1)
@click.option("--fetch", is_flag=True, help="Fetch what is not cached yet.")
@click.option(
    "--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@config_option
def command(names: tuple[str, ...], fetch: bool, style: str, config: Path | None) -> None:
    """Show the data sets NAMES (all configured ones by default) and how they are partitioned."""
    from rich.console import Console
    from rich.table import Table

    from dpbench import runner
    from dpbench.config import load_config
    from dpbench.datasets import describe
    from dpbench.plugins import registry

    settings = load_config(config, registry())
    rows = []
    for name in names or sorted({settings.settings.dataset, *settings.settings.datasets}):
        dataset = runner.make_dataset(settings, settings.component("datasets", name))
        rows.append(describe(dataset, runner.cache_directory(), fetch=fetch) | {"name": name})
    if style == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    parts = ("labelling", "public", "private", "test")
    table = Table("data set", "cached", *parts, "image", "private", "source", "where")
    for row in rows:
        sizes = [f"{row['sizes'][part]:,}" if row["sizes"] else "–" for part in parts]
        shape = "x".join(map(str, row["image_shape"] or ())) or "–"
        classes = " ".join(map(str, row["private_classes"] or ())) or "–"
        cached = "yes" if row["cached"] else "no (--fetch)"
        table.add_row(row["name"], cached, *sizes, shape, classes, row["source"], row["path"])
    Console().print(table)

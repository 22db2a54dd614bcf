"""``dpbench data``: show data sets, fetch them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    from dpbench.datasets import describe
    from dpbench.errors import UnknownName
    from dpbench.planning.config import load_config
    from dpbench.plugins import registry
    from dpbench.runner.data import cache_directory, make_dataset

    loaded = load_config(config, registry())
    rows = []
    known = loaded.names("datasets")
    for name in names or sorted({loaded.file.dataset, *loaded.file.datasets}):
        if name not in known:
            raise UnknownName("dataset", name, known)
        dataset = make_dataset(loaded, loaded.component("datasets", name))
        rows.append(describe(dataset, cache_directory(), fetch=fetch) | {"name": name})
    if style == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(_describe(row))


def _describe(row: dict[str, Any]) -> str:
    """Tell in two lines what is known of a data set."""
    where = ", in ".join(filter(None, (row["source"], row["path"])))
    if row["sizes"] is None:
        return f"{row['name']}: not cached yet; dpbench data {row['name']} --fetch"
    sizes = ", ".join(f"{count:,} {part}" for part, count in row["sizes"].items())
    shape = " x ".join(map(str, row["image_shape"]))
    private = " ".join(map(str, row["private_classes"]))
    cached = f"cached ({where})" if where else "cached"
    return f"{row['name']}: {cached}\n  {sizes} images of {shape}; private classes {private}"

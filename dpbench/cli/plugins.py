"""``dpbench plugins``: what is registered, and what is broken."""

from __future__ import annotations

import json
from typing import Any

import click

__all__ = ["command"]


@click.command("plugins", short_help="List all plugins: kind, version, requires, provides.")
@click.option(
    "--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def command(style: str) -> None:
    """List every registered plugin, and those that could not be loaded."""
    from dpbench.cli.console import plain_table, table_console
    from dpbench.plugins import registry

    known = registry()
    rows = [_row(entry) for entry in known]
    if style == "json":
        broken = [vars(item) for item in known.broken]
        click.echo(json.dumps({"plugins": rows, "broken": broken}, indent=2))
        return
    table = plain_table(
        "kind",
        "name",
        "version",
        "package",
        "requires",
        "provides",
        whole=("kind", "name"),
    )
    for row in rows:
        source = f"{row['distribution']} {row['distribution_version']}"
        requires, provides = ", ".join(row["requires"]), ", ".join(row["provides"])
        table.add_row(row["kind"], row["name"], row["version"], source, requires, provides)
    table_console().print(table)


def _row(entry: Any) -> dict[str, Any]:
    cls = entry.cls
    return {
        "kind": cls.kind,
        "name": cls.name,
        "version": cls.version,
        "distribution": entry.distribution,
        "distribution_version": entry.distribution_version,
        "requires": sorted(getattr(cls, "requires", ())),
        "provides": sorted(getattr(cls, "provides", getattr(cls, "columns", ()))),
    }

"""``dpbench doctor``: whether this machine can run a benchmark."""

from __future__ import annotations

from pathlib import Path

import click

from dpbench.cli.options import config_option, runs_option

__all__ = ["command"]


@click.command("doctor", short_help="Look at this machine; say what is wrong and what to do.")
@click.option(
    "--format", "style", type=click.Choice(["table", "json"]), default="table", show_default=True
)
@config_option
@runs_option
def command(style: str, config: Path | None, runs: Path) -> None:
    """Look at versions, devices, memory, disk, configuration, data, weights and plugins.

    Exits with 1 if something is wrong; a note is no fault.
    """
    import dataclasses
    import json

    from rich.markup import escape

    from dpbench.cli.console import plain_table, table_console
    from dpbench.planning.config import load_config
    from dpbench.plugins import registry
    from dpbench.upkeep.doctor import diagnose

    known = registry()
    found = diagnose(lambda: load_config(config, known), known, runs)
    if style == "json":
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    else:
        table = plain_table("", "subject", "found", "what to do")
        for finding in found:
            mark = {"ok": "[green]✓[/green]", "note": "·", "wrong": "[red]✗[/red]"}[finding.verdict]
            table.add_row(mark, *map(escape, (finding.subject, finding.found, finding.remedy)))
        table_console().print(table)
    raise SystemExit(int(any(finding.verdict == "wrong" for finding in found)))

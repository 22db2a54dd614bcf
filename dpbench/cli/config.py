"""``dpbench config``: start a configuration, show what applies, find mistakes in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dpbench.cli.options import config_option
from dpbench.cli.usage import Verbs

if TYPE_CHECKING:
    from dpbench.planning.config import Config

__all__ = ["command"]


@click.group("config", cls=Verbs, short_help="Start a configuration, show what applies, check it.")
def command() -> None:
    """Start a benchmarks.toml, show what applies, or find mistakes in it."""


@command.command("init", short_help="Write a benchmarks.toml to start from.")
@click.argument(
    "path", type=click.Path(path_type=Path, dir_okay=False), default=Path("benchmarks.toml")
)
def init(path: Path) -> None:
    """Write PATH with every key as a comment; a file that is there is left alone."""
    from dpbench.errors import DpbenchError
    from dpbench.planning.show import starter

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(starter())
    except FileExistsError:
        raise DpbenchError(f"{path} is there already: edit it, or name another file") from None
    except OSError as error:
        raise DpbenchError(f"{path} cannot be written ({error.strerror})") from error
    click.echo(f"wrote {path}: edit it, then `dpbench config check`")


@command.command("show", short_help="Print what applies, defaults included.")
@click.argument("table", required=False)
@click.option(
    "--format", "style", type=click.Choice(["toml", "json"]), default="toml", show_default=True
)
@click.option("--origin", is_flag=True, help="Say behind each value which file it comes from.")
@config_option
def show(table: str | None, style: str, origin: bool, config: Path | None) -> None:
    """Print the configuration that applies, or the part TABLE of it, such as generators.vae."""
    from pydantic_core import to_json

    from dpbench.planning.layers import read_layers
    from dpbench.planning.show import effective, table_of
    from dpbench.planning.toml import to_toml

    if origin and style == "json":
        raise click.UsageError("--origin writes comments, which JSON has not: leave --format out")
    tables = effective(_load(config))
    if table is not None:
        tables = table_of(tables, table)
    if style == "json":
        click.echo(to_json(tables, indent=2, inf_nan_mode="strings"))
    else:
        click.echo(to_toml(tables, read_layers(config).origin if origin else None), nl=False)


@command.command("check", short_help="Find mistakes; count the trials of each grid.")
@config_option
def check(config: Path | None) -> None:
    """Report every mistake in a configuration with its line, or each grid's trials."""
    from dpbench.planning.trials import Request, plan_trials

    loaded = _load(config)
    click.echo(f"{loaded.source}: no mistakes")
    for name in loaded.file.grids:
        trials = plan_trials(loaded, Request((name,)))
        methods = {trial.method.name for trial in trials}
        click.echo(f"  grid {name}: {len(trials)} trials of {len(methods)} methods")


def _load(path: Path | None) -> Config:
    from dpbench.planning.config import load_config
    from dpbench.plugins import registry

    return load_config(path, registry())

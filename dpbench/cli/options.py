"""Options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["config_option", "device_option", "grid_options", "runs_option"]

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Configuration file.  [default: ./benchmarks.toml, else the packaged one]",
)
runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Directory of artifacts and results.",
)
device_option = click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, ... or auto."
)


def grid_options(function: F) -> F:
    """Add what selects trials: grids, data set, axes, protocols."""
    for option in reversed(
        [
            click.option(
                "--grid",
                "grids",
                multiple=True,
                default=("all",),
                show_default=True,
                help="A named grid, a method name, or a glob of methods; repeatable.",
            ),
            config_option,
            click.option("--dataset", help="Data set, instead of the grid's."),
            click.option("--epsilon", type=float, multiple=True, help="Instead of the grid's."),
            click.option(
                "--noise-multiplier", type=float, multiple=True, help="Rows with this noise."
            ),
            click.option("--clip", type=float, multiple=True, help="Instead of the grid's."),
            click.option("--seed", "seeds", type=int, multiple=True, help="Instead of the grid's."),
            click.option(
                "--protocol", "protocols", multiple=True, help="Instead of the grid's; repeatable."
            ),
            click.option(
                "--inception-weights",
                type=click.Path(path_type=Path, dir_okay=False),
                help="pytorch-fid's Inception weights, for the canonical protocols.",
            ),
            runs_option,
        ]
    ):
        function = option(function)
    return function

"""Options that several verbs share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dpbench.executors.base import Executor
    from dpbench.planning.trials import Request
    from dpbench.runner.prepare import Prepared

__all__ = [
    "Chosen",
    "MakeExecutor",
    "config_option",
    "device_option",
    "executor_options",
    "grid_options",
    "runs_option",
]

MakeExecutor = Callable[["Prepared"], "Executor"]

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


@dataclass(frozen=True)
class Chosen:
    """What :func:`grid_options` gathered from the command line."""

    grids: tuple[str, ...]
    config: Path | None
    dataset: str | None
    epsilon: tuple[float, ...]
    noise_multiplier: tuple[float, ...]
    clip: tuple[float, ...]
    seeds: tuple[int, ...]
    protocols: tuple[str, ...]
    inception_weights: Path | None
    runs: Path

    @property
    def request(self) -> Request:
        """The trials asked for."""
        from dpbench.planning.trials import Request

        return Request(
            self.grids,
            self.dataset,
            self.epsilon,
            self.noise_multiplier,
            self.clip,
            self.seeds,
            self.protocols,
        )

    @property
    def weights(self) -> str | None:
        """Where Inception's weights are, if told."""
        return str(self.inception_weights) if self.inception_weights else None


def grid_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what selects trials; the command gets it as one :class:`Chosen`, its first argument."""

    @functools.wraps(command)
    def function(**options: Any) -> None:
        chosen = Chosen(**{field.name: options.pop(field.name) for field in fields(Chosen)})
        command(chosen, **options)

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


def executor_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says where tasks run; the command gets it as ``make_executor``."""

    @device_option
    @click.option(
        "--workers",
        type=click.IntRange(1),
        help="How many tasks run at once.  [default: one a core, or a GPU]",
    )
    @click.option(
        "--executor",
        type=click.Choice(["local", "ray"]),
        default="local",
        show_default=True,
        help="Processes on this machine, or a Ray cluster.",
    )
    @click.option(
        "--ray-address",
        help="auto or host:port of a cluster.  [default: $RAY_ADDRESS, else a Ray of its own]",
    )
    @functools.wraps(command)
    def function(
        *arguments: Any,
        device: str,
        workers: int | None,
        executor: str,
        ray_address: str | None,
        **options: Any,
    ) -> None:
        from dpbench.executors.device import choose_device
        from dpbench.executors.ray import require_ray
        from dpbench.runner.executors import local_executor, ray_executor

        if ray_address is not None and executor != "ray":
            raise click.UsageError("--ray-address is for --executor ray: add it")
        if executor == "ray":
            require_ray()  # before any data is fetched

        def make(prepared: Prepared) -> Executor:
            config, directory = prepared.config, prepared.directory
            if executor == "ray":
                return ray_executor(config, directory, device, workers, ray_address)
            return local_executor(config, directory, choose_device(device), workers)

        command(*arguments, make_executor=make, **options)

    return function

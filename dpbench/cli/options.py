"""Options that several verbs share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dpbench.api import Executor
    from dpbench.planning.config import Config
    from dpbench.planning.trials import Request
    from dpbench.results.identity import Labels
    from dpbench.runner.directory import RunDirectory

__all__ = [
    "Chosen",
    "MakeExecutor",
    "config_option",
    "device_option",
    "executor_options",
    "grid_options",
    "labels_axis_option",
    "labels_option",
    "method_option",
    "patterns",
    "runs_option",
    "take_plugin_files",
]

LABELS = ("none", "private")
MakeExecutor = Callable[["Config", "RunDirectory"], "Executor"]

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
method_option = click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    help="Only methods of this name, glob or component, such as ae-enc-* or vae; repeatable. "
    "Where trials are planned, vae[steps=100] sets a hyperparameter, "
    "vae[hidden=64|128] sweeps it.",
)


def take_plugin_files(command: click.Command) -> None:
    """Give a verb, and the verbs in it, the option ``--plugin``."""
    if not any(param.name == "plugin" for param in command.params):
        command.params.append(
            click.Option(
                ["--plugin"],
                multiple=True,
                is_eager=True,
                expose_value=False,
                metavar="FILE.py",
                help="Also load plugins from this file; repeatable.",
                callback=_use_plugin_files,
            )
        )
    for inner in getattr(command, "commands", {}).values():
        take_plugin_files(inner)


def _use_plugin_files(_context: click.Context, _option: Any, paths: tuple[str, ...]) -> None:
    if paths:
        from dpbench.plugin_files import use_files
        from dpbench.plugins import registry

        use_files(map(Path, paths))
        registry.cache_clear()


def patterns(method: str | None, methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return what an argument METHOD and ``--method`` name together; all where neither does."""
    return (*([method] if method else []), *methods) or ("*",)


labels_axis_option = click.option(
    "--labels",
    multiple=True,
    type=click.Choice(LABELS),
    help="Instead of the grid's: private records with their labels, or without; repeatable.",
)
labels_option = click.option(
    "--labels", type=click.Choice(LABELS), help="Of trials with and without labels, these."
)


@dataclass(frozen=True)
class Chosen:
    """What :func:`grid_options` gathered from the command line."""

    grids: tuple[str, ...]
    methods: tuple[str, ...]
    config: Path | None
    dataset: str | None
    epsilon: tuple[float, ...]
    noise_multiplier: tuple[float, ...]
    clip: tuple[float, ...]
    seeds: tuple[int, ...]
    protocols: tuple[str, ...]
    labels: tuple[Labels, ...]
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
            self.methods,
            self.labels,
        )

    @property
    def weights(self) -> dict[str, Path]:
        """Where released weights are, by evaluator, if told."""
        return {"inception": self.inception_weights} if self.inception_weights else {}


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
                help="A named grid, or methods as --method names them; repeatable.",
            ),
            method_option,
            config_option,
            click.option("--dataset", help="Data set, instead of the grid's."),
            click.option(
                "--epsilon", type=float, multiple=True, help="Instead of the grid's; repeatable."
            ),
            click.option(
                "--noise-multiplier",
                type=float,
                multiple=True,
                help="Rows with this noise; repeatable.",
            ),
            click.option(
                "--clip", type=float, multiple=True, help="Instead of the grid's; repeatable."
            ),
            click.option(
                "--seed",
                "seeds",
                type=int,
                multiple=True,
                help="Instead of the grid's; repeatable.",
            ),
            click.option(
                "--protocol", "protocols", multiple=True, help="Instead of the grid's; repeatable."
            ),
            labels_axis_option,
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
        metavar="NAME",
        help="local: processes on this machine; ray: a Ray cluster; slurm: job "
        "arrays; or a plugin's.  "
        "[default: the configuration's, else local]",
    )
    @click.option(
        "--executor-option",
        "-x",
        "pairs",
        multiple=True,
        metavar="KEY=VALUE",
        help="Instead of what [executors.NAME] says; repeatable.",
    )
    @functools.wraps(command)
    def function(
        *arguments: Any,
        device: str,
        workers: int | None,
        executor: str | None,
        pairs: tuple[str, ...],
        **options: Any,
    ) -> None:
        params: dict[str, Any] = dict(_pair(pair) for pair in pairs)
        if workers is not None:
            params["workers"] = workers

        def make(config: Config, directory: RunDirectory) -> Executor:
            from dpbench.runner.executors import make_executor

            return make_executor(config, directory, executor, device, **params)

        command(*arguments, make_executor=make, **options)

    return function


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise click.UsageError(f"--executor-option {text!r}: write KEY=VALUE")
    return key, value

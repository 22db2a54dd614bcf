"""What scripts and notebooks call; the command line's verbs ``run`` and ``leaderboard``."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from dpbench.leaderboard import Leaderboard
    from dpbench.results.identity import Labels

__all__ = ["load", "run"]

T = TypeVar("T")


def load(runs: str | Path = "runs") -> Leaderboard:
    """Read the results under ``runs``.

    >>> import dpbench
    >>> dpbench.load("no such directory")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    dpbench.errors.DpbenchError: no results under no such directory: make some with ...

    Raises:
        DpbenchError: there are none.
    """
    from dpbench.leaderboard import load as read

    return read(Path(runs))


def run(
    grid: str | Iterable[str] = "all",
    *,
    method: str | Iterable[str] = (),
    dataset: str | None = None,
    epsilon: float | Iterable[float] = (),
    noise_multiplier: float | Iterable[float] = (),
    clip: float | Iterable[float] = (),
    seed: int | Iterable[int] = (),
    protocol: str | Iterable[str] = (),
    labels: Labels | Iterable[Labels] = (),
    runs: str | Path = "runs",
    config: str | Path | None = None,
    plugins: Iterable[str | Path] = (),
    controls: bool = True,
    fresh: bool = False,
    device: str = "auto",
    executor: str | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Leaderboard:
    """Train and score a grid as ``dpbench run`` does, and return its rows.

    What is already computed is not computed again. A trial that fails raises nothing: its
    row says why. Ctrl-C, or a notebook's stop, keeps what has ended.

    >>> import dpbench
    >>> dpbench.run(grid="smoek", progress=False)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    dpbench.errors.DpbenchError: unknown grid or method 'smoek'; did you mean 'smoke'? ...

    Args:
        grid: named grids, or methods as ``--method`` names them.
        method: only these methods, by name, glob or component: ``"vae[hidden=64|128]"``.
        dataset: instead of the grid's, as are the next six.
        epsilon: targets, ``float("inf")`` for none.
        noise_multiplier: noise in place of a target.
        clip: norms to which what a record contributes is clipped.
        seed: of the private stage.
        protocol: named ways to score.
        labels: ``"none"`` or ``"private"``: whether labels are a part of private records.
        runs: directory of artifacts and results.
        config: file instead of ``benchmarks.toml`` in the working directory.
        plugins: files to load plugins from; this process keeps them.
        controls: also score the rows that cost or give no privacy.
        fresh: compute everything again.
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"auto"``.
        executor: where tasks run, instead of the configuration's choice.
        workers: how many tasks run at once.
        progress: show the plan and what becomes of it.

    Raises:
        DpbenchError: an unknown name, a bad value, data or weights that cannot be had,
            or another run that uses the directory.
    """
    call = _call(locals())
    from rich.console import Console

    from dpbench.cli.carry import carry_out
    from dpbench.cli.console import say
    from dpbench.cli.live import print_plan
    from dpbench.planning.config import load_config
    from dpbench.planning.plan import Options
    from dpbench.planning.trials import Request
    from dpbench.plugins import registry
    from dpbench.runner.directory import RunDirectory
    from dpbench.runner.executors import make_executor
    from dpbench.runner.prepare import prepare
    from dpbench.runner.protocols import automatic

    console, started = Console(quiet=not progress), time.monotonic()
    _use(plugins)
    settings = load_config(None if config is None else Path(config), registry())
    directory = RunDirectory(Path(runs))
    own: dict[str, Any] = {} if workers is None else {"workers": workers}
    place = make_executor(settings, directory, executor, device, **own)
    request = Request(
        grids=_several(grid),
        dataset=dataset,
        epsilon=tuple(map(float, _several(epsilon))),
        noise_multiplier=tuple(map(float, _several(noise_multiplier))),
        clip=tuple(map(float, _several(clip))),
        seeds=_several(seed),
        protocols=_several(protocol),
        methods=_several(method),
        labels=_several(labels),
    )
    settings, missing = automatic(settings, request, {}, device)
    options = Options(controls=controls, fresh=fresh)
    prepared = prepare(settings, request, directory, options, notice=partial(say, console))
    if missing:
        say(console, missing)
    print_plan(prepared, console)
    return carry_out(prepared, place, console, started, call)


def _call(arguments: dict[str, Any]) -> str:
    """Return a call of :func:`run` as the history names it: what is not the default."""
    defaults = {name: p.default for name, p in inspect.signature(run).parameters.items()}
    given = {k: v for k, v in arguments.items() if k == "grid" or v != defaults[k]}
    return f"dpbench.run({', '.join(f'{name}={value!r}' for name, value in given.items())})"


def _use(files: Iterable[str | Path]) -> None:
    if paths := [Path(file) for file in files]:
        from dpbench.plugin_files import use_files
        from dpbench.plugins import registry

        use_files(paths)
        registry.cache_clear()


def _several(values: T | Iterable[T]) -> tuple[T, ...]:
    """Return one value, or several, as a tuple."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        return (values,)
    return tuple(values)

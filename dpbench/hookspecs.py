"""The hooks a dpbench plugin can implement.

A plugin is an importable module or object named by an entry point in the group
``dpbench``. It implements any of the hooks below and hands its classes to the
``register`` callback::

    from dpbench import hookimpl

    @hookimpl
    def register_generators(register):
        register(MyGenerator)

Every hook is called once, when the command line first needs the registry.
Classes of another kind, abstract ones, those with a wrong attribute or signature,
names that are already taken and hooks that do not exist are refused, all faults of
a package at once; nothing of it is then registered.

The other hooks tell what happens while ``dpbench run`` or ``dpbench score`` works:
:func:`planned` once, then :func:`started`, :func:`progress` and :func:`finished` or
:func:`failed` for each task. They are called in the process that plans, one after the
other, so what takes long holds up the run. What one raises costs a line in
``RUNS/logs/hooks.txt`` and nothing else. A hook may leave out arguments::

    @hookimpl
    def finished(results):
        for result in results:
            print(result.method, result.metrics)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from dpbench.api import (
        Dataset,
        Evaluator,
        Executor,
        Extractor,
        Metric,
        PrivateGenerator,
        PublicModel,
    )
    from dpbench.api.events import RunInfo, TaskInfo
    from dpbench.results import Result

PROJECT = "dpbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_datasets(register: Callable[[type[Dataset]], None]) -> None:
    """Register sources of labelled images with their partition rule."""


@hookspec
def register_public_models(register: Callable[[type[PublicModel]], None]) -> None:
    """Register models learned on public images; ``provides`` says what they can do."""


@hookspec
def register_extractors(register: Callable[[type[Extractor]], None]) -> None:
    """Register ways from images to latents; ``requires`` says through which models."""


@hookspec
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Register private generators; each joins every public-model/extractor pair."""


@hookspec
def register_metrics(register: Callable[[type[Metric]], None]) -> None:
    """Register metrics; a protocol in ``benchmarks.toml`` names those it reports."""


@hookspec
def register_evaluators(register: Callable[[type[Evaluator]], None]) -> None:
    """Register networks behind features; a protocol in ``benchmarks.toml`` names its own."""


@hookspec
def register_executors(register: Callable[[type[Executor]], None]) -> None:
    """Register places where tasks run; ``--executor`` names them."""


@hookspec
def planned(run: RunInfo) -> None:
    """A run is about to begin: ``run`` has its directory, tasks and earlier results."""


@hookspec
def started(task: TaskInfo) -> None:
    """A task began."""


@hookspec
def progress(task: TaskInfo, fraction: float) -> None:
    """A task is at ``fraction`` of its work, in ``[0, 1]``; a few times a second at most."""


@hookspec
def finished(task: TaskInfo, results: Sequence[Result]) -> None:
    """A task ended well; ``results`` are the rows that it completed, of failed trials too."""


@hookspec
def failed(task: TaskInfo, reason: str, results: Sequence[Result]) -> None:
    """A task failed, or cannot start since one that it needs did; ``results`` as above."""

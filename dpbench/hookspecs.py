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
"""

from __future__ import annotations

from collections.abc import Callable
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

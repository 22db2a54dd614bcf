"""Registers the built-in executors, the way any plugin does."""

from __future__ import annotations

from collections.abc import Callable

from dpbench.api import Executor
from dpbench.executors.local import LocalExecutor
from dpbench.executors.ray import RayExecutor
from dpbench.executors.slurm import SlurmExecutor
from dpbench.hookspecs import hookimpl


@hookimpl
def register_executors(register: Callable[[type[Executor]], None]) -> None:
    register(LocalExecutor)
    register(RayExecutor)
    register(SlurmExecutor)

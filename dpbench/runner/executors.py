"""An executor by its configured name, with the limits of a configuration."""

from __future__ import annotations

from typing import Any

from dpbench.api import Executor, Workplace
from dpbench.planning.config import Config
from dpbench.runner.directory import RunDirectory

__all__ = ["make_executor"]


def make_executor(
    config: Config,
    directory: RunDirectory,
    name: str | None = None,
    device: str = "auto",
    **params: Any,
) -> Executor:
    """Return the executor ``name``, by default the configuration's; it starts on entering.

    ``params`` go above those of ``[executors.NAME]``.

    Raises:
        UnknownName: no such executor.
        DpbenchError: a bad hyperparameter, a device or package that is not there.
    """
    component = config.component("executors", name or config.file.executor, params)
    cls = config.registry.get("executor", component.plugin).cls
    limits = config.file.limits
    place = Workplace(
        directory.store.root.absolute(),  # a task may change its working directory
        directory.logs,
        device,
        limits.seconds,
        limits.memory_gib,
        limits.threads,
    )
    executor: Executor = cls(cls.Params.model_validate(component.params), place)
    return executor

"""Executors with the limits of a configuration."""

from __future__ import annotations

import psutil

from dpbench.executors.local import LocalExecutor
from dpbench.executors.ray import RayExecutor
from dpbench.planning.config import Config
from dpbench.runner.directory import RunDirectory

__all__ = ["local_executor", "ray_executor"]


def local_executor(
    config: Config, directory: RunDirectory, device: str, workers: int | None = None
) -> LocalExecutor:
    """Return worker processes on this machine, with the configured limits."""
    limits = config.settings.limits
    total = psutil.virtual_memory().total / 2**30
    return LocalExecutor(
        directory.store.root,
        device,
        workers,
        seconds=limits.seconds,
        memory_gib=limits.memory_gib or 0.8 * total,
    )


def ray_executor(
    config: Config,
    directory: RunDirectory,
    device: str,
    workers: int | None = None,
    address: str | None = None,
) -> RayExecutor:
    """Return workers on a Ray cluster, with the configured limits; it chooses the device."""
    limits = config.settings.limits
    return RayExecutor(
        directory.store.root, device, workers, limits.seconds, limits.memory_gib, address
    )

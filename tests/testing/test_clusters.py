"""Executors of clusters keep the promises of their kind, on this machine's share of one."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from dpbench.executors.ray import RayExecutor
from dpbench.executors.slurm import SlurmExecutor
from dpbench.testing import ExecutorKit

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # Ray's own: it leaves sockets, files and child processes to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


class TestSlurm(ExecutorKit):
    plugin = SlurmExecutor
    params: ClassVar[dict[str, Any]] = {"cluster": "local", "workers": 2}


class TestRay(ExecutorKit):
    plugin = RayExecutor
    params: ClassVar[dict[str, Any]] = {"address": "local", "workers": 1}

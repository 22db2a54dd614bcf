"""Tasks on a Ray cluster, whose nodes share the store's directory.

A task asks for a CPU a thread, and on CUDA for a share of a GPU, so Ray never runs more
tasks on a node than fit. Results travel through the store alone: what Ray moves
is the description of a task and its one-line error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Sequence
from typing import Any, Self

from pydantic import Field

from dpbench.api import Params, Workplace
from dpbench.errors import DpbenchError, one_line
from dpbench.executors.local import default_workers
from dpbench.executors.remote import NodeDied, Order, ProcessDied, RemoteExecutor, carry_out
from dpbench.executors.worker import Ended

__all__ = ["RayExecutor", "RayParams", "RayUnavailable"]


class RayUnavailable(DpbenchError):
    """Ray's package is missing; names the extra that brings it."""

    def __init__(self) -> None:
        super().__init__("--executor ray needs the package ray: pip install 'dpbench[ray]'")


class RayParams(Params):
    """``[executors.ray]``.

    Attributes:
        workers: how many tasks run at once; by default as many as there are CPUs,
            or GPUs. More than there are GPUs share them.
        address: ``"auto"``, ``"host:port"``, or ``"local"`` for a Ray on this machine
            that ends with the run; by default ``$RAY_ADDRESS``, else ``"local"``.
    """

    workers: int | None = Field(default=None, ge=1)
    address: str | None = None


class RayExecutor(RemoteExecutor):
    """Ray workers, wherever Ray puts them; joins the cluster when it is entered.

    A task whose node died is started again, up to three times; one whose process
    died, once. Nodes may join and leave during a run. The device is ``"cpu"``,
    ``"cuda"``, or ``"auto"`` for CUDA if the cluster has a GPU.

    Raises:
        RayUnavailable: Ray is not installed.
        DpbenchError: on entering: no cluster answers, or it lacks the device.
    """

    name = "ray"
    Params = RayParams
    params: RayParams

    def __init__(self, params: RayParams, place: Workplace) -> None:
        try:
            import ray  # noqa: F401
        except ImportError as missing:
            raise RayUnavailable from missing
        super().__init__(params, place)
        self.device = place.device
        self.address = params.address or os.environ.get("RAY_ADDRESS") or "local"
        self._connected = False
        self._tasks_per_gpu = 0
        self._remote: Any = None

    def __enter__(self) -> Self:
        import ray

        super().__enter__()
        if not ray.is_initialized():
            self._connected = True
            _connect(self.address, self._own_cpus())
        try:
            self._choose_device(ray.cluster_resources())
        except DpbenchError:
            self.__exit__()
            raise
        share = 1 / self._tasks_per_gpu if self._tasks_per_gpu else 0
        # Ray's own retries do not tell a node's death from a process's.
        self._remote = ray.remote(carry_out).options(
            num_cpus=self.place.threads, num_gpus=share, max_retries=0
        )
        return self

    def _own_cpus(self) -> int:
        """Return how many CPUs a Ray on this machine is to hand out."""
        threads = self.place.threads
        return threads * (self.params.workers or default_workers("cpu", threads))

    def _choose_device(self, resources: dict[str, float]) -> None:
        gpus = int(resources.get("GPU", 0))
        if self.device == "auto":
            self.device = "cuda" if gpus else "cpu"
        if self.device == "cuda":
            if not gpus:
                raise DpbenchError("the Ray cluster has no GPU: add a node that has, or use cpu")
            self._tasks_per_gpu = -(-(self.params.workers or gpus) // gpus)
        elif self.device != "cpu":
            raise DpbenchError(
                f"device {self.device!r} cannot be chosen with --executor ray, which hands out "
                "GPUs itself: try --device cuda"
            )

    @property
    def slots(self) -> int:
        import ray

        resources = ray.cluster_resources()
        fit = int(resources.get("CPU", 0)) // self.place.threads
        if self._tasks_per_gpu:
            fit = min(fit, int(resources.get("GPU", 0)) * self._tasks_per_gpu)
        # Nodes may just have left: what ran on them still counts, and waits for others.
        return max(1, min(fit, self.params.workers or fit), len(self._running))

    def launch(self, order: Order) -> Any:
        return self._remote.remote(order)

    def finished(self, handles: Sequence[Any], seconds: float) -> set[Any]:
        import ray

        ray.wait(list(handles), timeout=seconds)
        return set(ray.wait(list(handles), num_returns=len(handles), timeout=0)[0])

    def result(self, handle: Any) -> Ended:
        import ray
        from ray import exceptions

        try:
            ended: Ended = ray.get(handle)
            return ended
        except exceptions.NodeDiedError as problem:
            raise NodeDied from problem
        except (
            exceptions.WorkerCrashedError,
            exceptions.OutOfMemoryError,
            exceptions.TaskCancelledError,
        ) as problem:
            raise ProcessDied from problem
        except exceptions.RayError as problem:
            cause = getattr(problem, "cause", None) or problem
            raise DpbenchError(
                f"Ray could not run it ({type(cause).__name__}: {one_line(cause)}): install the "
                "same dpbench and plugins on every node"
            ) from problem

    def stop(self, handle: Any) -> None:
        import ray

        with contextlib.suppress(ray.exceptions.RayError):
            ray.cancel(handle, force=True)

    def __exit__(self, *exception: object) -> None:
        import ray

        super().__exit__(*exception)
        if self._connected:
            self._connected = False
            ray.shutdown()


def _connect(address: str, cpus: int) -> None:
    """Join a cluster, or start a Ray on this machine that ends with this process."""
    import ray

    own: dict[str, Any] = {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report to its makers
        # Nothing is kept in Ray's object store; by default it takes 30% of the memory.
        own = {
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": 2**27,
        }
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise DpbenchError(
            f"no Ray cluster can be joined at {address!r} ({one_line(error)}): start one with "
            "`ray start --head`, or leave the address out"
        ) from error


def _knock(address: str) -> None:
    """Raise unless ``host:port`` answers: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if "//" in host:
        raise ValueError("this is Ray Client's form; name the head node as host:port")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()

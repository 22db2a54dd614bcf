"""Tasks on a Ray cluster, whose nodes share the store's directory.

A task asks for a CPU a thread, for memory, and on CUDA for a share of a GPU, so Ray never runs
more tasks on a node than fit. Results travel through the store alone: what Ray moves
is the description of a task and its one-line error.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import pickle
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

from pydantic import Field

from dpbench.api import Params, Workplace
from dpbench.errors import DpbenchError, one_line
from dpbench.executors.local import default_workers
from dpbench.executors.remote import NodeDied, NodeUnfit, Order, ProcessDied, RemoteExecutor
from dpbench.executors.worker import Ended

__all__ = ["RayExecutor", "RayParams", "RayUnavailable"]


#: Memory that a task asks for where its limit is not set, so that it passes by a full node.
DEFAULT_GIB = 1.0
#: Has Ray listen on loopback alone, in spite of its name on Linux too.
LOOPBACK_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


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

    A node that lacks the store or has other code is avoided. A task whose node died is
    started again, up to three times; one whose process died, once. Nodes may join and leave
    during a run. The device is ``"cpu"``, ``"cuda"``, or ``"auto"`` for CUDA if the cluster
    has a GPU.

    Raises:
        RayUnavailable: Ray is not installed.
        DpbenchError: on entering: no cluster answers, or it lacks the device or the memory.
    """

    name = "ray"
    Params = RayParams
    params: RayParams

    def __init__(self, params: RayParams, place: Workplace) -> None:
        self.address = params.address or os.environ.get("RAY_ADDRESS") or "local"
        if self.address == "local":
            os.environ.setdefault(LOOPBACK_VARIABLE, "0")  # which Ray reads when it is imported
        try:
            import ray  # noqa: F401
        except ImportError as missing:
            raise RayUnavailable from missing
        super().__init__(params, place)
        self.device = place.device
        self._connected = False
        self._tasks_per_gpu = 0
        self._work: Any = None
        self._memory = 0
        self._places: dict[Any, str] = {}

    def __enter__(self) -> Self:
        import ray

        super().__enter__()
        if not ray.is_initialized():
            self._connected = True
            _connect(self.address, self._own_cpus())
        try:
            self._choose_device(ray.cluster_resources())
            self._memory = self._bytes_of_a_task()
        except DpbenchError:
            self.__exit__()
            raise
        self._work = ray.remote(
            num_cpus=self.place.threads,
            num_gpus=self._share,
            memory=self._memory,
            max_retries=0,  # Ray's own do not tell a node's death from a process's
        )(_worker())
        return self

    @property
    def _share(self) -> float:
        """Return the share of a GPU that a task gets."""
        return 1 / self._tasks_per_gpu if self._tasks_per_gpu else 0

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

    def _bytes_of_a_task(self) -> int:
        """Return the memory that a task asks for: its limit, if it has one."""
        asked, limit = self.place.memory_gib or DEFAULT_GIB, self.place.memory_gib
        most = max(node["Resources"].get("memory", 0) for node in _alive()) / 2**30
        if limit and limit > most:
            raise DpbenchError(
                f"no node of the Ray cluster has {limit:g} GiB for a task (the most is "
                f"{most:.1f}): lower limits.memory_gib, or add a node"
            )
        return int(min(asked, most) * 2**30)

    def _fit_nodes(self) -> list[str]:
        """Return the nodes that may do a task, by what is known of them."""
        wants = {"CPU": self.place.threads, "GPU": self._share, "memory": self._memory}
        return [
            node["NodeID"]
            for node in _alive()
            if node["NodeID"] not in self._unfit
            and all(node["Resources"].get(what, 0) >= least for what, least in wants.items())
        ]

    @property
    def slots(self) -> int:
        import ray

        resources = ray.cluster_resources()
        fit = int(resources.get("CPU", 0)) // self.place.threads
        if self._tasks_per_gpu:
            fit = min(fit, int(resources.get("GPU", 0)) * self._tasks_per_gpu)
        if self._memory:
            fit = min(fit, int(resources.get("memory", 0)) // self._memory)
        # Nodes may just have left: what ran on them still counts, and waits for others.
        return max(1, min(fit, self.params.workers or fit), len(self._running))

    def launch(self, order: Order) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        packed = pickle.dumps(order)
        fit = self._fit_nodes() if self._unfit else []
        if not fit:
            return self._work.remote(packed)
        # Ray can be told where a task must run, not where it must not.
        taken = Counter(self._places.values())
        node = min(fit, key=lambda each: taken[each])
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        handle = self._work.options(scheduling_strategy=there).remote(packed)
        self._places[handle] = node
        return handle

    def avoid(self, node: str) -> bool:
        return bool(self._fit_nodes())

    def finished(self, handles: Sequence[Any], seconds: float) -> set[Any]:
        import ray

        ray.wait(list(handles), timeout=seconds)
        return set(ray.wait(list(handles), num_returns=len(handles), timeout=0)[0])

    def result(self, handle: Any) -> Ended:
        import ray
        from ray import exceptions

        self._places.pop(handle, None)
        try:
            node, reason, ended = ray.get(handle)
        except (exceptions.NodeDiedError, exceptions.TaskUnschedulableError) as problem:
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
        if reason:
            raise NodeUnfit(node, reason)
        done: Ended = ended
        return done

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


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _worker() -> Callable[[bytes], tuple[str, str | None, Ended | None]]:
    """Return what runs on a node; Ray sends it whole, so that it runs where dpbench is missing."""

    def work(packed: bytes) -> tuple[str, str | None, Any]:
        import pickle
        import platform

        import ray

        node = ray.get_runtime_context().get_node_id()
        try:
            from dpbench.executors.remote import do, unfit

            order = pickle.loads(packed)  # noqa: S301 - from the run that asked Ray for it
            reason = unfit(order)
        except Exception as error:
            reason = (
                f"node {platform.node()} cannot read its task ({type(error).__name__}: {error}): "
                "install the same dpbench and plugins on every node"
            )
        return node, reason, None if reason else do(order)

    return work


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
        if own:
            _only_here()
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError) as error:
        raise DpbenchError(
            f"no Ray cluster can be joined at {address!r} ({one_line(error)}): start one with "
            "`ray start --head`, or leave the address out"
        ) from error
    if own and not all(map(_is_loopback, (node["NodeManagerAddress"] for node in _alive()))):
        ray.shutdown()
        raise DpbenchError(
            f"a Ray on this machine would listen to others too: unset {LOOPBACK_VARIABLE}, or "
            "start one with `ray start --head` and name its address"
        )


def _only_here() -> None:
    """Have a Ray of our own listen on loopback, though it may have been imported before."""
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = os.environ.get(LOOPBACK_VARIABLE) == "1"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _knock(address: str) -> None:
    """Raise unless ``host:port`` answers: Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if "//" in host:
        raise ValueError("this is Ray Client's form; name the head node as host:port")
    if host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()

"""Tasks as jobs of a SLURM cluster, through submitit: arrays over a shared store.

No daemon and no port: submitit writes each call to a file and submits it with `sbatch`;
what it returns is a file again. What is ready at once goes out as one job array.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Self

from pydantic import Field

from dpbench.api import Params, Workplace
from dpbench.errors import DpbenchError, one_line
from dpbench.executors.remote import NodeDied, Order, ProcessDied, RemoteExecutor, carry_out
from dpbench.executors.worker import Ended

__all__ = ["SlurmExecutor", "SlurmParams", "SlurmUnavailable"]

#: States of a job that its machine, or the cluster's policy, is to blame for.
NOT_ITS_FAULT = ("NODE_FAIL", "PREEMPTED", "REQUEUED", "REVOKED", "SUSPENDED", "BOOT_FAIL")
#: What SLURM allows unless it is told otherwise.
LONGEST_ARRAY = 1000
#: Seconds between two looks at the queue.
ASK_EVERY = 5.0
#: Where submitit keeps what it writes, below the store.
FOLDER = "slurm"


class SlurmUnavailable(DpbenchError):
    """submitit is missing; names the extra that brings it."""

    def __init__(self) -> None:
        super().__init__("--executor slurm needs submitit: pip install 'dpbench[slurm]'")


class SlurmParams(Params):
    """``[executors.slurm]``.

    Attributes:
        workers: how many tasks may be queued or run at once.
        array: how many tasks one job array holds at most; the cluster's
            ``MaxArraySize`` by default.
        parallel: how many tasks of an array run at once; the cluster's own limit
            by default.
        minutes: of a task, after which the cluster stops it; it is tried once more.
        partition: where to run; the cluster's default if absent.
        account: whose time is used.
        memory_gib: what a task asks for; ``limits.memory_gib`` if absent.
        options: further parameters of ``sbatch``, as submitit names them.
        cluster: ``"slurm"``, or ``"local"`` for processes on this machine.
    """

    workers: int = Field(default=1000, ge=1)
    array: int | None = Field(default=None, ge=1)
    parallel: int | None = Field(default=None, ge=1)
    minutes: int = Field(default=240, ge=1)
    partition: str | None = None
    account: str | None = None
    memory_gib: float | None = Field(default=None, gt=0)
    options: dict[str, Any] = Field(default_factory=dict)
    cluster: str = "slurm"


class NoQueue:
    """What is known of jobs where submitit knows it all."""

    def holds(self, job: Any) -> bool:
        """Say whether a job may still run."""
        return not job.done()

    def longest_array(self) -> int:
        """Return how many tasks an array may hold."""
        return LONGEST_ARRAY

    def state(self, job: Any) -> str:
        """Return what became of a job, in SLURM's words."""
        return str(job.state).upper()


class Queue(NoQueue):
    """What `squeue` and `scontrol` say: they need no accounting, which many clusters lack."""

    def __init__(self) -> None:
        self._asked = -math.inf
        self._listed: set[str] | None = None
        self._first_seen: dict[str, float] = {}

    def holds(self, job: Any) -> bool:
        now = time.monotonic()
        if now - self._asked > ASK_EVERY:
            self._asked = now
            told = _told("squeue", "--me", "--noheader", "--array", "--format=%i")
            self._listed = None if told is None else set(told.split())
        # A job that was just submitted may be listed only by the next look.
        # (submitit's own answer comes of accounting, and warns each time where there is none.)
        young = now - self._first_seen.setdefault(job.job_id, now) < 2 * ASK_EVERY
        return self._listed is None or young or job.job_id in self._listed

    def longest_array(self) -> int:
        told = _told("scontrol", "show", "config") or ""
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", told)
        return max(1, int(found.group(1))) if found else LONGEST_ARRAY

    def state(self, job: Any) -> str:
        told = _told("scontrol", "show", "job", job.job_id, "--oneliner") or ""
        found = re.search(r"JobState=(\w+)", told)
        return found.group(1) if found else "UNKNOWN"


def _told(*command: str) -> str | None:
    """Return what a command prints; ``None`` where it fails, as a busy cluster's do."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


class SlurmExecutor(RemoteExecutor):
    """Job arrays of a SLURM cluster, submitted from a machine that has `sbatch`.

    A task whose node failed or that was pre-empted is submitted again, as a task of
    its own; one whose process died or whose time was up, once. The device is ``"cpu"``,
    or ``"cuda"`` for a GPU a task; ``"auto"`` is ``"cpu"``, since this machine cannot
    tell what nodes have.

    Raises:
        SlurmUnavailable: submitit is not installed.
        DpbenchError: on entering: there is no `sbatch`.
    """

    name = "slurm"
    Params = SlurmParams
    params: SlurmParams

    def __init__(self, params: SlurmParams, place: Workplace) -> None:
        try:
            import submitit  # noqa: F401
        except ImportError as missing:
            raise SlurmUnavailable from missing
        super().__init__(params, place)
        self.device = "cpu" if place.device == "auto" else place.device
        if self.device not in ("cpu", "cuda"):
            raise DpbenchError(
                f"device {self.device!r} cannot be chosen with --executor slurm, which hands out "
                "GPUs itself: try --device cuda"
            )
        self._folder = self.place.store_root / "tmp" / f"{FOLDER}-{uuid.uuid4().hex}"
        self._waiting: dict[str, Order] = {}
        self._jobs: dict[str, Any] = {}
        self._submitter: Any = None
        self._queue = Queue() if params.cluster == "slurm" else NoQueue()
        self._longest = params.array or LONGEST_ARRAY

    def __enter__(self) -> Self:
        import submitit

        super().__enter__()
        if self.params.cluster == "slurm" and shutil.which("sbatch") is None:
            raise DpbenchError(
                "there is no `sbatch` here: run dpbench where jobs are submitted from, or take "
                "--executor local"
            )
        self._longest = self.params.array or self._queue.longest_array()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._submitter = submitit.AutoExecutor(self._folder, cluster=self.params.cluster)
        self._submitter.update_parameters(**self._resources())
        return self

    def _resources(self) -> dict[str, Any]:
        """Return what a task asks for, in the names that submitit has for all clusters."""
        params = self.params
        gib = params.memory_gib or self.place.memory_gib
        asked: dict[str, Any] = {
            "timeout_min": params.minutes,
            "cpus_per_task": self.place.threads,
            "gpus_per_node": int(self.device == "cuda"),
            "mem_gb": gib,
            "name": "dpbench",
        }
        if params.cluster == "slurm":
            own = {
                "partition": params.partition,
                "account": params.account,
                "array_parallelism": params.parallel or params.workers,
            }
            asked |= {f"slurm_{name}": value for name, value in own.items()}
            # What is pre-empted is ours to submit again: SLURM would count its time on.
            asked["slurm_additional_parameters"] = {"no_requeue": True}
        if params.cluster == "local":
            asked.pop("mem_gb")
        further = "slurm_additional_parameters"
        given = dict(params.options)
        if further in asked and further in given:
            given[further] = asked[further] | given[further]
        return {name: value for name, value in (asked | given).items() if value is not None}

    @property
    def slots(self) -> int:
        return self.params.workers

    def launch(self, order: Order) -> str:
        """Put an order into the next array; it is submitted by the next look at what ended."""
        handle = uuid.uuid4().hex
        self._waiting[handle] = order
        return handle

    def finished(self, handles: Sequence[Any], seconds: float) -> set[Any]:
        self._submit_waiting()
        deadline = time.monotonic() + seconds
        while True:
            done = {handle for handle in handles if self._ended(self._jobs[handle])}
            if done or time.monotonic() >= deadline:
                return done
            time.sleep(min(0.2, max(deadline - time.monotonic(), 0)))

    def _ended(self, job: Any) -> bool:
        return job.paths.result_pickle.exists() or not self._queue.holds(job)

    def _submit_waiting(self) -> None:
        """Submit what was launched since, as arrays that are not too long."""
        for handles in self._arrays():
            orders = [self._waiting.pop(handle) for handle in handles]
            try:
                jobs = self._submitter.map_array(carry_out_as_job, orders)
            except Exception as error:  # whatever sbatch says
                raise DpbenchError(
                    f"the cluster took no jobs ({one_line(error)}): check partition, account and "
                    "options in [executors.slurm]"
                ) from error
            self._jobs.update(zip(handles, jobs, strict=True))

    def _arrays(self) -> Iterator[list[str]]:
        handles = list(self._waiting)
        for first in range(0, len(handles), self._longest):
            yield handles[first : first + self._longest]

    def result(self, handle: Any) -> Ended:
        from submitit.core.utils import FailedJobError, UncompletedJobError

        job = self._jobs.pop(handle)
        try:
            if not job.paths.result_pickle.exists():
                raise UncompletedJobError(f"{job.job_id} left nothing")
            ended: Ended = job.result()
            return ended
        except (UncompletedJobError, FailedJobError) as problem:
            state = self._queue.state(job)
            if state.startswith(NOT_ITS_FAULT):
                raise NodeDied from problem
            if state.startswith("TIMEOUT"):
                raise ProcessDied(
                    f"the cluster stopped it twice after {self.params.minutes} minutes: raise "
                    "minutes in [executors.slurm]"
                ) from problem
            if isinstance(problem, FailedJobError):
                raise DpbenchError(
                    f"a node could not run it ({_last_line(problem)}): install the same dpbench "
                    "and plugins on every node"
                ) from problem
            raise ProcessDied from problem

    def stop(self, handle: Any) -> None:
        self._waiting.pop(handle, None)
        if (job := self._jobs.get(handle)) is not None:
            with contextlib.suppress(Exception):  # it may have ended meanwhile
                job.cancel()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        shutil.rmtree(self._folder, ignore_errors=True)


def carry_out_as_job(order: Order) -> Ended:
    """Do an order in a job's process, which ends where it is told to.

    submitit's own handlers raise in the midst of a plugin, which would count as its failure, and
    have the job run again behind our back.
    """
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # time is almost up; it may yet do
    return carry_out(order)


def _last_line(problem: Exception) -> str:
    """Return the line of a traceback that says what happened."""
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line or "Exception" in line]
    return (errors or lines or ["no reason given"])[-1][:200]

"""Tasks as SLURM jobs: arrays, what is submitted again, and the same bits as on one machine.

A made-up cluster answers in the fast tests; in the slow ones submitit's local one runs processes,
and a real SLURM of one machine runs jobs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import psutil
import pytest
import submitit
from click.testing import Result as Invoked
from fakes import InProcess
from submitit.core.utils import FailedJobError, UncompletedJobError

from dpbench.api import Workplace
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.executors import slurm as slurm_module
from dpbench.executors.remote import Order
from dpbench.executors.slurm import SlurmExecutor, SlurmParams
from dpbench.runner.execute import execute
from dpbench.runner.prepare import Prepared
from dpbench.stages import EvaluatorTask
from dpbench.store import Store

TASK = EvaluatorTask(
    "key", "labelling", "test", (0,), Component("evaluator", "domain", "domain", {}), 11
)


class Job:
    """A job whose fate is written down beforehand: a state, or what it returns."""

    def __init__(self, fate: Any) -> None:
        self.fate = fate
        self.job_id = "1"
        self.cancelled = False

    @property
    def paths(self) -> Any:
        left = not isinstance(self.fate, str) or self.fate == "FAILED"
        return SimpleNamespace(result_pickle=Path(__file__) if left else Path("/nowhere"))

    @property
    def state(self) -> str:
        return self.fate if isinstance(self.fate, str) else "COMPLETED"

    def done(self) -> bool:
        return self.fate != "RUNNING" or self.cancelled

    def result(self) -> Any:
        if self.state.startswith("FAILED"):
            raise FailedJobError("Traceback\nModuleNotFoundError: No module named 'dpbench'\n")
        if isinstance(self.fate, str):
            raise UncompletedJobError(self.fate)
        return self.fate

    def cancel(self) -> None:
        self.cancelled = True


class Cluster:
    """Takes arrays; each task meets the next fate."""

    def __init__(self, *fates: Any) -> None:
        self.fates = list(fates)
        self.arrays: list[int] = []
        self.asked: dict[str, Any] = {}
        self.jobs: list[Job] = []

    def __call__(self, folder: Path, cluster: str) -> Self:
        return self

    def update_parameters(self, **asked: Any) -> None:
        self.asked = asked

    def map_array(self, function: Callable[..., Any], orders: Sequence[Any]) -> list[Job]:
        self.arrays.append(len(orders))
        jobs = [Job(self.fates.pop(0) if self.fates else ({}, None)) for _ in orders]
        self.jobs += jobs
        return jobs


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SlurmExecutor]:
    def make(cluster: Cluster, device: str = "auto", **params: Any) -> SlurmExecutor:
        monkeypatch.setattr(submitit, "AutoExecutor", cluster)
        place = Workplace(tmp_path / "artifacts", tmp_path / "logs", device, seconds=600)
        return SlurmExecutor(SlurmParams(cluster="made-up", **params), place)

    return make


Start = Callable[..., SlurmExecutor]


def outcomes(executor: SlurmExecutor, count: int) -> dict[str, str | None]:
    for number in range(count):
        executor.submit(f"job-{number}", TASK)
    ended: dict[str, str | None] = {}
    while len(ended) < count:
        ended |= {outcome.job_id: outcome.error for outcome in executor.wait(0.1)}
    return ended


def test_what_is_ready_goes_out_as_arrays_no_larger_than_allowed(start: Start) -> None:
    cluster = Cluster()
    with start(cluster, array=4) as executor:
        assert set(outcomes(executor, 10).values()) == {None}
    assert cluster.arrays == [4, 4, 2]


@pytest.mark.parametrize("state", ["PREEMPTED", "NODE_FAIL", "REQUEUED"])
def test_a_task_that_lost_its_machine_is_submitted_again_alone(start: Start, state: str) -> None:
    cluster = Cluster(({}, None), state, ({}, None))
    with start(cluster) as executor:
        assert set(outcomes(executor, 3).values()) == {None}
    assert cluster.arrays == [3, 1]


def test_a_process_that_dies_twice_fails(start: Start) -> None:
    with start(Cluster("CANCELLED", "CANCELLED")) as executor:
        assert "died twice" in (outcomes(executor, 1)["job-0"] or "")


@pytest.mark.parametrize(
    ("states", "said"),
    [(["TIMEOUT"] * 2, "raise minutes in"), (["FAILED"], "No module named 'dpbench'")],
)
def test_what_cannot_succeed_says_why(start: Start, states: list[str], said: str) -> None:
    with start(Cluster(*states)) as executor:
        assert said in (outcomes(executor, 1)["job-0"] or "")


def test_a_task_whose_time_was_up_is_tried_once_more(start: Start) -> None:
    cluster = Cluster("TIMEOUT", ({}, None))
    with start(cluster) as executor:
        assert outcomes(executor, 1) == {"job-0": None}
    assert cluster.arrays == [1, 1]


@pytest.mark.parametrize(("said", "most"), [("MaxArraySize            = 3\n", 3), (None, 1000)])
def test_arrays_are_as_long_as_the_cluster_allows(
    monkeypatch: pytest.MonkeyPatch, said: str | None, most: int
) -> None:
    monkeypatch.setattr(slurm_module, "_told", lambda *_: said)
    assert slurm_module.Queue().longest_array() == most


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_of_the_cluster_is_no_failure_of_the_plugin(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Time that is almost up is borne; an end is an end, and not caught as an error."""

    def end(_: object) -> Any:
        os.kill(os.getpid(), number)
        return {"survived": "it"}, None

    monkeypatch.setattr(slurm_module, "carry_out", end)
    if (child := os.fork()) == 0:
        for caught in (signal.SIGUSR2, signal.SIGTERM):  # as submitit does
            signal.signal(caught, lambda *_: os._exit(3))
        slurm_module.carry_out_as_job(None)  # type: ignore[arg-type]
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == (0 if number == signal.SIGUSR2 else -signal.SIGTERM)


def test_what_a_task_asks_for(start: Start) -> None:
    cluster = Cluster()
    options = {"slurm_qos": "low"}
    with start(cluster, "cuda", minutes=30, memory_gib=6, options=options):
        pass
    assert cluster.asked == {
        "timeout_min": 30,
        "cpus_per_task": 1,
        "gpus_per_node": 1,
        "mem_gb": 6,
        "name": "dpbench",
        "slurm_qos": "low",
    }


def test_leaving_cancels_what_runs(start: Start) -> None:
    cluster = Cluster("RUNNING")
    with start(cluster) as executor:
        executor.submit("job", TASK)
        assert executor.wait(0.05) == []
    assert [job.cancelled for job in cluster.jobs] == [True]


def test_a_cluster_that_takes_nothing_ends_the_run_in_one_line(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster()

    def refuse(*_: Any) -> list[Job]:
        raise RuntimeError("sbatch: error: invalid partition specified: gpu")

    monkeypatch.setattr(cluster, "map_array", refuse)
    with start(cluster) as executor:
        executor.submit("job", TASK)
        with pytest.raises(DpbenchError, match="invalid partition"):
            executor.wait(0.1)


def test_a_gpu_by_number_is_refused(start: Start) -> None:
    with pytest.raises(DpbenchError, match="try --device cuda"):
        start(Cluster(), "cuda:1")


def test_without_a_cluster_or_submitit_a_line_says_what_to_do(
    dpbench: Callable[..., Invoked], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    result = dpbench("run", "--executor", "slurm")
    assert result.exit_code == 2 and "there is no `sbatch` here" in result.output
    monkeypatch.setitem(sys.modules, "submitit", None)
    result = dpbench("run", "--executor", "slurm")
    assert result.exit_code == 2 and "pip install 'dpbench[slurm]'" in result.output


SWEEP = """
[grids.sweep]
methods = ["linear-look-MEAN"]
epsilon = [1, 10]
clip = [0.5, 1.0]
seeds = [0]
"""


class Doomed(SlurmExecutor):
    """Kills tasks, drawn at random, each once: the process, some time after it began.

    Attributes:
        share: of the tasks that are killed.
        launched: every task that was started, by its id, once for each time.
        killed: those whose process was killed.
        again: those that were started again although all that they write was there.
    """

    def __init__(self, params: SlurmParams, place: Workplace) -> None:
        super().__init__(params, place)
        self.share = 0.0
        self.launched: list[str] = []
        self.killed: list[str] = []
        self.again: list[str] = []
        self._rng = random.Random(3)
        self._doom: dict[str, str] = {}

    def launch(self, order: Order) -> str:
        handle = super().launch(order)
        store = Store(self.place.store_root)
        if order.job_id not in self.launched and self._rng.random() < self.share:
            self._doom[handle] = order.job_id
        elif all(store.has(*artifact) for artifact in order.task.writes()):
            self.again.append(order.job_id)
        self.launched.append(order.job_id)
        return handle

    def finished(self, handles: Sequence[Any], seconds: float) -> set[Any]:
        done = super().finished(handles, seconds)
        for handle in self._doom.keys() - done:
            if pid := process_of(self._jobs[handle].job_id):
                self.killed.append(self._doom.pop(handle))
                threading.Timer(self._rng.uniform(0, 3), _kill, [pid]).start()
        return done


def process_of(job: str) -> int | None:
    """Return the process that does a job's task."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "submitit.core._submit" in process.cmdline():
                own = process.environ()
                array = f"{own.get('SLURM_ARRAY_JOB_ID')}_{own.get('SLURM_ARRAY_TASK_ID')}"
                if job in (own.get("SUBMITIT_LOCAL_JOB_ID"), own.get("SLURM_JOB_ID"), array):
                    return process.pid
    return None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


CONF = """
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={other}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
MaxArraySize=3
KillWait=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES State=UP PreemptMode=REQUEUE PriorityTier=1
PartitionName=high Nodes=ALL Default=NO State=UP PriorityTier=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
"""
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A SLURM of this machine alone, without accounting; all that it keeps is in one folder."""
    if not all(map(shutil.which, DAEMONS)) or os.getuid() != 0:
        pytest.skip("no SLURM to start here: apt install slurm-wlm munge, as root")
    folder = Path(tempfile.mkdtemp(prefix="slurm"))  # a socket's path must be short
    (folder / "state").mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    conf = CONF.format(
        folder=folder, host=host, port=_free_port(), other=_free_port(), cpus=os.cpu_count()
    )
    (folder / "slurm.conf").write_text(conf)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    munge = ("key-file", "key"), ("socket", "socket"), ("pid-file", "pid"), ("seed-file", "seed")
    own = [f"--{option}={folder}/munge.{name}" for option, name in munge]
    daemons = (
        ["munged", "--force", f"--log-file={folder}/munge.log", *own],
        ["slurmctld"],
        ["slurmd", "-N", host],
    )
    try:
        for daemon in daemons:
            nowhere = subprocess.DEVNULL  # they would keep a pipe of ours open
            subprocess.run(daemon, check=True, stdout=nowhere, stderr=nowhere)
        yield
        _until_empty()  # a job that is just ending would be left for ever
    finally:
        for name in ("slurmd", "slurmctld", "munge"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGTERM)
        time.sleep(1)
        shutil.rmtree(folder, ignore_errors=True)


def _until_empty() -> None:
    for _ in range(120):
        if not subprocess.run(["squeue", "--noheader"], capture_output=True, check=True).stdout:
            return
        time.sleep(0.5)


slow = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def marked(test: Any) -> Any:
    for mark in slow:
        test = mark(test)
    return test


def files_of(runs: Path) -> dict[str, str]:
    """Return a hash of every file of tensors, by its place in the store."""
    found = (runs / "artifacts").rglob("*.safetensors")
    return {
        str(path.relative_to(runs)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found
    }


def doomed(prepared: Prepared, cluster: str, share: float = 0.3, **params: Any) -> Doomed:
    limits = prepared.config.file.limits
    place = Workplace(
        prepared.directory.store.root, prepared.directory.logs, "cpu", threads=limits.threads
    )
    executor = Doomed(SlurmParams(cluster=cluster, **params), place)
    executor.share = share
    return executor


@marked
@pytest.mark.parametrize("cluster", ["local", "slurm"])
def test_with_processes_killed_the_results_are_the_same(
    prepare: Callable[..., Prepared],
    tmp_path: Path,
    cluster: str,
    request: pytest.FixtureRequest,
    forget: Callable[[], None],
) -> None:
    if cluster == "slurm":
        request.getfixturevalue("slurm")
    prepared = prepare(SWEEP, grids=("sweep",))
    here = InProcess.of(prepared.directory)
    expected = execute(prepared, here)
    (tmp_path / "runs").rename(tmp_path / "runs-here")
    forget()  # what this process keeps of artifacts that are gone
    prepared = prepare(SWEEP, grids=("sweep",))
    executor = doomed(prepared, cluster, workers=4, minutes=10)
    found = execute(prepared, executor)
    assert [(r.identity_key, r.status, r.metrics) for r in found] == [
        (r.identity_key, r.status, r.metrics) for r in expected
    ]
    assert files_of(tmp_path / "runs") == files_of(tmp_path / "runs-here")
    tasks = set(executor.launched)
    assert 0.15 <= len(executor.killed) / len(tasks) <= 0.45
    assert len(executor.again) <= 0.05 * len(tasks)
    assert execute(prepare(SWEEP, grids=("sweep",)), here) == found  # and nothing is left to do
    assert len(here.ran) == len(tasks)


WAITS = """
[generators.mean]
fault = "waits"
flag = "{flag}"
[grids.sweep]
methods = ["linear-look-MEAN"]
epsilon = [10]
clip = [1.0]
"""


@marked
def test_a_task_that_was_pre_empted_is_submitted_again(
    prepare: Callable[..., Prepared], tmp_path: Path, slurm: None
) -> None:
    flag = tmp_path / "flag"
    prepared = prepare(WAITS.format(flag=flag), grids=("sweep",))
    executor = doomed(prepared, "slurm", 0.0, workers=4, minutes=10, partition="low")
    urgent = ["sbatch", "--partition=high", "--exclusive", "--wrap=sleep 1", "--output=/dev/null"]

    def pre_empt() -> None:
        while not any("generator" in job for job in executor.launched):
            time.sleep(0.2)
        while not any(map(process_of, (j.job_id for j in [*executor._jobs.values()]))):
            time.sleep(0.2)
        subprocess.run(urgent, check=True, stdout=subprocess.DEVNULL)
        time.sleep(5)
        flag.touch()

    threading.Thread(target=pre_empt, daemon=True).start()
    (row,) = execute(prepared, executor)
    assert row.status == "ok", row.reason
    assert len(executor.launched) > len(set(executor.launched))  # what ran at that time, again

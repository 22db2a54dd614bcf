"""Tasks as SLURM jobs: arrays, what is submitted again, and the same bits as on one machine.

A made-up cluster answers in the fast tests; submitit's local one runs processes in the slow one.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import psutil
import pytest
import submitit
from click.testing import Result as Invoked
from submitit.core.utils import FailedJobError, UncompletedJobError

from dpbench.api import Workplace
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.executors.slurm import SlurmExecutor, SlurmParams
from dpbench.results import Result
from dpbench.runner.execute import execute
from dpbench.runner.executors import make_executor
from dpbench.runner.prepare import Prepared
from dpbench.stages import EvaluatorTask

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
    ("state", "said"),
    [("TIMEOUT", "raise minutes in"), ("FAILED", "No module named 'dpbench'")],
)
def test_what_cannot_succeed_says_why(start: Start, state: str, said: str) -> None:
    with start(Cluster(state)) as executor:
        assert said in (outcomes(executor, 1)["job-0"] or "")


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
seeds = [0, 1]
"""


def kill_some(stop: threading.Event, rng: random.Random) -> None:
    """Kill a third of the first processes that do tasks, each some time after it started."""
    seen: set[int] = set()
    while not stop.wait(0.2):
        for process in psutil.process_iter():
            if process.pid in seen or "submitit.core._submit" not in _line(process):
                continue
            seen.add(process.pid)
            if len(seen) % 3 == 1 and len(seen) < 10:
                threading.Timer(rng.uniform(1, 6), _kill, [process.pid]).start()


def _line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "cluster",
    [
        "local",
        pytest.param(
            "slurm", marks=pytest.mark.skipif(not shutil.which("sbatch"), reason="no SLURM here")
        ),
    ],
)
def test_with_processes_killed_the_results_are_the_same(
    prepare: Callable[..., Prepared], tmp_path: Path, cluster: str
) -> None:
    def run(name: str, **options: Any) -> list[Result]:
        prepared = prepare(SWEEP, grids=("sweep",))
        executor = make_executor(prepared.config, prepared.directory, name, "cpu", **options)
        found = execute(prepared, executor)
        (tmp_path / "runs").rename(tmp_path / f"runs-{name}")
        return found

    expected = run("local", workers=2)
    stop = threading.Event()
    killer = threading.Thread(target=kill_some, args=(stop, random.Random(0)), daemon=True)
    killer.start()
    try:
        found = run("slurm", cluster=cluster, workers=4, memory_gib=2)
    finally:
        stop.set()
    assert [(r.identity_key, r.status, r.metrics) for r in found] == [
        (r.identity_key, r.status, r.metrics) for r in expected
    ]

"""Tasks on Ray: the same results as in this process, and what happens when something dies.

What runs on a real Ray is marked slow: starting one takes ten seconds. Each test
starts its own, since workers find the test's plugins by its environment.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from click.testing import Result as Invoked

from dpbench import plugins, stages
from dpbench.api import Workplace
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.executors import remote
from dpbench.executors.ray import RayExecutor
from dpbench.plugin_files import FILES_VARIABLE
from dpbench.results import Result
from dpbench.runner.execute import execute
from dpbench.runner.executors import make_executor
from dpbench.runner.prepare import Prepared

DOMAIN = Component("evaluator", "domain", "domain", {})

#: Ray's own, not ours: it leaves sockets, files and child processes to the garbage collector.
ON_RAY = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SWEEP = """
[grids.sweep]
methods = ["linear-look-MEAN"]
epsilon = [1, 10]
clip = [0.5, 1.0]
seeds = [0, 1]
"""

FAULTS = """
[generators.hangs]
plugin = "mean"
fault = "hangs"
[generators.greedy]
plugin = "mean"
fault = "greedy"
[generators.dies]
plugin = "mean"
fault = "dies"
[generators.waits]
plugin = "mean"
fault = "waits"
flag = "{flag}"
[limits]
"""


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``import ray`` fail, whether Ray is installed or not."""
    monkeypatch.setitem(sys.modules, "ray", None)


def test_without_ray_a_line_names_the_extra(no_ray: None, dpbench: Callable[..., Invoked]) -> None:
    result = dpbench("run", "--executor", "ray")
    assert result.exit_code == 2
    assert result.stderr.strip() == (
        "Error: --executor ray needs the package ray: pip install 'dpbench[ray]'"
    )
    assert not Path("runs").exists()  # told before any data is fetched


def test_an_option_that_the_executor_does_not_know_is_refused(
    dpbench: Callable[..., Invoked],
) -> None:
    result = dpbench("run", "-x", "address=auto", "--executor", "local")
    assert result.exit_code == 2
    assert "[executors.local] address: unknown key" in result.stderr
    assert "write KEY=VALUE" in dpbench("run", "-x", "address").stderr


def on_worker(root: Path, report: Path, codes: dict[str, str]) -> tuple[dict[str, str], str | None]:
    """Run a task as a worker on some node would."""
    task = stages.EvaluatorTask("key", "labelling", "test", (0,), DOMAIN, 11)
    place = Workplace(root, root.parent / "logs")
    return remote.carry_out(remote.Order("job", task, place, "cpu", report, codes))


def test_a_node_without_the_shared_directory_says_so(tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    failures, error = on_worker(root, root / "tmp" / "ray-1" / "0", {})
    assert failures == {}
    assert error is not None
    assert f"does not see {root}: name a directory with --runs that all nodes share" in error


def test_a_node_with_other_code_says_whose(tmp_path: Path, fakes: plugins.Registry) -> None:
    other = {"metric brightness": "dpbench-fakes/brightness-2/0", "metric x": ""}
    codes = {**remote.installed_code(), **other}
    _, error = on_worker(tmp_path, tmp_path / "0", codes)
    assert error is not None
    assert "has other code of metric brightness: install the same dpbench and plugins" in error


def test_a_sound_node_runs_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages.EvaluatorTask, "run", lambda *_: {"lane": "wrong shape"})
    report = tmp_path / "0"
    codes = remote.installed_code()
    assert on_worker(tmp_path, report, codes) == ({"lane": "wrong shape"}, None)
    assert report.exists()


class _Nodes(remote.RemoteExecutor):
    """Two machines in this process: a task goes to the first that is not avoided."""

    device = "cpu"
    slots = 1

    def __init__(self, place: Workplace, **unfit: str) -> None:
        super().__init__(None, place)
        self.reasons, self.avoided = unfit, set[str]()

    def launch(self, order: remote.Order) -> str:
        return min({"a", "b"} - self.avoided or {"a"})

    def avoid(self, node: str) -> bool:
        self.avoided.add(node)
        return len(self.avoided) < 2

    def finished(self, handles: Any, seconds: float) -> set[str]:
        return set(handles)

    def result(self, handle: str) -> Any:
        if handle in self.reasons:
            raise remote.NodeUnfit(handle, self.reasons[handle])
        return {}, None

    def stop(self, handle: str) -> None:
        pass


@pytest.mark.parametrize(
    ("unfit", "error", "notes"),
    [
        ({}, None, 0),
        ({"a": "a sees no store"}, None, 1),
        ({"a": "a sees no store", "b": "b has other code"}, "b has other code", 2),
    ],
)
def test_an_unfit_node_is_avoided_until_none_is_left(
    tmp_path: Path, unfit: dict[str, str], error: str | None, notes: int
) -> None:
    task = stages.EvaluatorTask("key", "labelling", "test", (0,), DOMAIN, 11)
    with _Nodes(Workplace(tmp_path / "artifacts", tmp_path / "logs"), **unfit) as executor:
        executor.submit("job", task)
        ended = [outcome for _ in range(3) for outcome in executor.wait(0)]
    assert [(one.failures, one.error) for one in ended] == [({}, error)]
    noted = tmp_path / "logs" / remote.NOTES
    lines = noted.read_text().splitlines() if noted.exists() else []
    assert lines == [f"avoided: {reason}" for reason in list(unfit.values())[:notes]]


class _Ray:
    """Slow tests take this fixture's value to carry out a plan on Ray."""

    def __call__(self, prepared: Prepared, **options: Any) -> dict[str, Result]:
        options = {"workers": 2, "address": "local", **options}
        executor = make_executor(prepared.config, prepared.directory, "ray", **options)
        results = execute(prepared, executor)
        return {r.method.rpartition("-")[2]: r for r in results}


@pytest.fixture
def ray_run() -> Iterator[_Ray]:
    ray = pytest.importorskip("ray")
    yield _Ray()
    ray.shutdown()


def outcome(result: Result) -> tuple[str, str | None]:
    return result.status, result.reason


@pytest.mark.slow
class TestOnRay:
    pytestmark = ON_RAY

    def test_results_are_those_of_this_process(
        self, ray_run: _Ray, carry_out: Callable[..., Any], prepare: Callable[..., Prepared]
    ) -> None:
        import ray

        here, _ = carry_out(SWEEP, grids=("sweep",))
        prepared = prepare(SWEEP, grids=("sweep",))
        shutil.rmtree(prepared.directory.root)
        prepared = prepare(SWEEP, grids=("sweep",))
        executor = make_executor(
            prepared.config, prepared.directory, "ray", workers=2, address="local"
        )
        there = execute(prepared, executor)
        assert not ray.is_initialized()  # what it started is gone
        assert cast(RayExecutor, executor).device == "cpu"
        assert len(there) == 8
        assert {r.status for r in there} == {"ok"}
        for ours, theirs in zip(here, there, strict=True):
            left_out = {"seconds"}
            assert theirs.model_dump(exclude=left_out) == ours.model_dump(exclude=left_out)
        assert not list((prepared.store.root / "tmp").iterdir())

    def test_dying_greedy_and_hanging_trials_fail_and_the_rest_goes_on(
        self, ray_run: _Ray, prepare: Callable[..., Prepared]
    ) -> None:
        def grids(*names: str) -> tuple[str, ...]:
            return tuple(f"linear-look-{name}" for name in names)

        faults = FAULTS + "seconds = 300\nmemory_gib = 2.0\n"
        first = ray_run(prepare(faults, grids=grids("dies", "greedy", "MEAN")))
        assert outcome(first["MEAN"]) == ("ok", None)
        assert outcome(first["dies"]) == (
            "failed",
            "its process died twice: killed, or out of memory?",
        )
        assert outcome(first["greedy"]) == (
            "failed",
            "held more than 2 GiB of memory: raise limits.memory_gib or make it smaller",
        )
        # All that the hanging trial builds on is stored by now: nothing else can be slow.
        second = ray_run(prepare(FAULTS + "seconds = 3\n", grids=grids("hangs")))
        assert outcome(second["hangs"]) == (
            "failed",
            "ran longer than 3 s: raise limits.seconds or make it faster",
        )

    def test_a_node_that_dies_loses_nothing(
        self, ray_run: _Ray, prepare: Callable[..., Prepared], tmp_path: Path
    ) -> None:
        from ray.cluster_utils import Cluster

        flag = tmp_path / "flag"
        prepared = prepare(FAULTS.format(flag=flag), grids=("linear-look-waits",))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        doomed = cluster.add_node(num_cpus=1)
        executor = make_executor(
            prepared.config, prepared.directory, "ray", address=cluster.address
        )
        struck: list[Any] = []

        def strike(*_: object) -> None:
            """Kill the node on which the trial waits, and let its second start end."""
            running = cast(RayExecutor, executor)._running.values()
            waiting = [r for r in running if r.order.task.stage == "generator" and r.started]
            if waiting and not struck:
                struck.extend(waiting)
                cluster.add_node(num_cpus=1)
                cluster.remove_node(doomed, allow_graceful=False)
                flag.touch()

        try:
            (result,) = execute(prepared, executor, strike)
        finally:
            cluster.shutdown()
        assert [running.node_deaths for running in struck] == [1]
        assert outcome(result) == ("ok", None)

    def test_its_own_ray_listens_on_this_machine_alone(
        self, ray_run: _Ray, prepare: Callable[..., Prepared]
    ) -> None:
        prepared = prepare()
        with make_executor(
            prepared.config, prepared.directory, "ray", workers=1, address="local"
        ) as executor:
            assert executor.slots == 1
            processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
            sockets = [one for process in processes for one in process.net_connections("inet")]
            listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
        assert listening
        assert all("127.0.0.1" in address for address in listening), listening

    def test_more_memory_than_there_is_is_refused(
        self, ray_run: _Ray, prepare: Callable[..., Prepared]
    ) -> None:
        with pytest.raises(
            DpbenchError, match=r"has 99999 GiB for a task .*lower limits.memory_gib"
        ):
            ray_run(prepare("[limits]\nmemory_gib = 99999\n"))

    def test_a_node_that_must_not_run_tasks_is_avoided(
        self, ray_run: _Ray, prepare: Callable[..., Prepared], tmp_path: Path
    ) -> None:
        from ray.cluster_utils import Cluster

        prepared = prepare()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        nowhere = {FILES_VARIABLE: str(tmp_path / "nowhere.py")}
        cluster.add_node(num_cpus=2, env_vars=nowhere)
        executor = make_executor(
            prepared.config, prepared.directory, "ray", address=cluster.address
        )
        try:
            (alone,) = execute(prepared, executor)
            cluster.add_node(num_cpus=1)
            prepared = prepare()
            (result,) = execute(prepared, executor)
        finally:
            cluster.shutdown()
        assert alone.status == "skipped" and alone.reason is not None
        assert "cannot load its plugins: BadPluginFile" in alone.reason
        assert outcome(result) == ("ok", None)
        notes = (prepared.directory.logs / remote.NOTES).read_text().splitlines()
        assert len(notes) == 1 and "avoided: node" in notes[0]

    @pytest.mark.parametrize(
        ("address", "why"),
        [
            ("127.0.0.1:1", "Connection refused"),
            ("127.0.0.1:port", "invalid literal"),
            ("ray://127.0.0.1:10001", "name the head node as host:port"),
        ],
    )
    def test_a_cluster_that_cannot_be_joined_is_one_line(
        self, ray_run: _Ray, prepare: Callable[..., Prepared], address: str, why: str
    ) -> None:
        with pytest.raises(DpbenchError, match="no Ray cluster can be joined at") as error:
            ray_run(prepare(), address=address)
        assert why in str(error.value)
        assert "start one with `ray start --head`" in str(error.value)

    def test_gpus_are_the_clusters_to_hand_out(
        self, ray_run: _Ray, prepare: Callable[..., Prepared]
    ) -> None:
        prepared = prepare()
        for device, words in (("cuda", "has no GPU"), ("cuda:1", "cannot be chosen")):
            executor = make_executor(
                prepared.config, prepared.directory, "ray", device, workers=1, address="local"
            )
            with pytest.raises(DpbenchError, match=words):
                execute(prepared, executor)

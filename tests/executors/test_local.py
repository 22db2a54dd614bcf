"""Worker processes: what they are told, and what happens when they go wrong.

Starting one takes seconds, so one pool of one worker meets all the failures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dpbench import stages
from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.executors import worker
from dpbench.executors.base import Outcome
from dpbench.executors.local import LocalExecutor, default_workers
from dpbench.planning.config import Config
from dpbench.runner.directory import RunDirectory
from dpbench.runner.execute import execute
from dpbench.runner.executors import local_executor
from dpbench.runner.prepare import Prepared
from dpbench.store import Store

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
"""

#: Far above what a slow machine needs for a sound trial, so that only the faulty are stopped.
MEMORY = """
[limits]
seconds = 300
memory_gib = 2.0
"""
TIME = """
[limits]
seconds = 3
"""


def test_hanging_greedy_and_dying_trials_are_stopped_and_the_rest_goes_on(
    prepare: Callable[..., Prepared],
) -> None:
    def outcomes(limits: str, *names: str) -> dict[str, tuple[str, str]]:
        prepared = prepare(FAULTS + limits, grids=tuple(f"linear-look-{name}" for name in names))
        executor = local_executor(prepared.config, prepared.directory, "cpu", workers=2)
        results = execute(prepared, executor)
        return {r.method.rpartition("-")[2]: (r.status, r.reason or "") for r in results}

    first = outcomes(MEMORY, "dies", "greedy", "MEAN")
    assert first["MEAN"] == ("ok", "")
    assert first["dies"] == (
        "failed",
        "its process died (exit code 7): killed, or out of memory?",
    )
    assert first["greedy"][0] == "failed"
    assert first["greedy"][1].startswith("held more than 2 GiB of memory: raise limits.memory_gib")
    # All that the hanging trial builds on is stored by now: nothing else can be slow.
    hangs = outcomes(TIME, "hangs")["hangs"]
    assert hangs[0] == "failed"
    assert hangs[1].startswith("ran longer than 3 s: raise limits.seconds")


def test_one_worker_a_core_and_one_for_a_gpu() -> None:
    assert 1 <= default_workers("cpu") <= 8
    assert default_workers("cuda:1") == 1


def test_limits_come_from_the_configuration(
    configure: Callable[..., Config], tmp_path: Path
) -> None:
    with local_executor(
        configure("[limits]\nseconds = 5\n"), RunDirectory(tmp_path), "cpu", 3
    ) as executor:
        assert isinstance(executor, LocalExecutor)
        assert (executor.seconds, executor.slots) == (5, 3)
        assert executor.memory_gib is not None
        assert executor.memory_gib > 0  # 80% of the machine's, where none is given
        assert executor.wait(0) == []


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Run a stand-in for a task in this process; return the outcome and the report's path."""

    def run(body: Callable[..., dict[str, str]]) -> object:
        monkeypatch.setattr(stages.EvaluatorTask, "run", body)
        task = stages.EvaluatorTask("key", "labelling", "test", (0,), "domain", 11)
        return worker.execute(task, tmp_path / "artifacts", "cpu", tmp_path / "report")

    return run


def test_a_stage_gets_its_seed_and_device_and_reports_progress(
    work: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))

    def stage(task: stages.Task, store: Store, context: Context) -> dict[str, str]:
        assert (context.seed, context.device) == (11, torch.device("cpu"))
        context.progress(1, 4)
        return {"lane": "wrong shape"}

    assert work(stage) == ({"lane": "wrong shape"}, None)
    assert (tmp_path / "report").read_text().split()[1] == "0.2500"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DpbenchError("give it more images"), "give it more images"),
        (MemoryError(), "out of memory: use fewer workers (--workers) or smaller batches"),
        (KeyError("x"), "KeyError: 'x' (traceback in "),
        (ValueError(), "ValueError:  (traceback in "),
        (ValueError("one\ntwo"), "ValueError: one (traceback in "),
    ],
)
def test_every_error_becomes_one_line(
    work: Callable[..., object], error: Exception, line: str
) -> None:
    def stage(*_: object) -> dict[str, str]:
        raise error

    failures, message = work(stage)  # type: ignore[misc]
    assert failures == {}
    assert message.startswith(line)
    assert "\n" not in message


def test_an_outcome_without_error_may_hold_failures() -> None:
    assert Outcome("job", {"key": "why"}, None, 1.0).error is None

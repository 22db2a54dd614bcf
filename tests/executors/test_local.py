"""Worker processes: what they are told, and what happens when they go wrong.

Starting one takes seconds, so one pool of one worker meets all the failures.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from dpbench import stages
from dpbench.api import Context, Outcome, Workplace
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.executors import local, worker
from dpbench.executors.local import LocalExecutor, default_workers
from dpbench.planning.config import Config
from dpbench.runner.directory import RunDirectory
from dpbench.runner.execute import execute
from dpbench.runner.executors import make_executor
from dpbench.runner.prepare import Prepared
from dpbench.store import Store

DOMAIN = Component("evaluator", "domain", "domain", {})

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
        executor = make_executor(prepared.config, prepared.directory, "local", "cpu", workers=2)
        results = execute(prepared, executor)
        return {r.method.rpartition("-")[2]: (r.status, r.reason or "") for r in results}

    first = outcomes(MEMORY, "dies", "greedy", "MEAN")
    assert first["MEAN"] == ("ok", "")
    assert first["dies"] == (
        "failed",
        "it ended its own process (exit code 7): plugins must return or raise",
    )
    assert first["greedy"][0] == "failed"
    assert first["greedy"][1].startswith("held more than 2 GiB of memory: raise limits.memory_gib")
    # All that the hanging trial builds on is stored by now: nothing else can be slow.
    hangs = outcomes(TIME, "hangs")["hangs"]
    assert hangs[0] == "failed"
    assert hangs[1].startswith("ran longer than 3 s: raise limits.seconds")


HOSTILE = """
[generators.{name}]
plugin = "mean"
fault = "{name}"
flag = "{seconds}"
"""


def test_whatever_ends_a_worker_is_noticed_at_once_and_costs_its_own_trial(
    prepare: Callable[..., Prepared],
) -> None:
    names = ("leaves", "exits", "interrupts", "killed", "forks")
    seconds = f"7654.{os.getpid()}"  # how to tell this test's process from another run's
    extra = "".join(HOSTILE.format(name=name, seconds=seconds) for name in names)
    prepared = prepare(extra, grids=tuple(f"linear-look-{n}" for n in (*names, "MEAN")))
    executor = make_executor(prepared.config, prepared.directory, "local", "cpu", workers=1)
    results = {r.method.rpartition("-")[2]: r for r in execute(prepared, executor)}
    reasons = {name: result.reason or "" for name, result in results.items()}
    assert results["MEAN"].status == results["forks"].status == "ok"
    assert reasons["leaves"] == (
        "it ended its own process (exit code 0): plugins must return or raise"
    )
    assert reasons["killed"] == "its process was killed twice (SIGKILL): out of memory?"
    assert reasons["exits"].startswith("SystemExit: 0 (traceback in ")
    assert reasons["interrupts"].startswith("KeyboardInterrupt (traceback in ")
    left = [p for p in psutil.process_iter(["cmdline"]) if seconds in (p.info["cmdline"] or ())]
    assert left == []  # though it had made a session of its own


def test_workers_that_do_not_live_to_start_fail_their_task_in_one_line(
    prepare: Callable[..., Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dpbench.executors.local._serve", os.abort)
    monkeypatch.setattr("dpbench.executors.local.FALSE_STARTS", 1)  # each takes seconds
    prepared = prepare()
    executor = make_executor(prepared.config, prepared.directory, "local", "cpu", workers=1)
    (result,) = execute(prepared, executor)
    assert result.status == "skipped"
    assert "no worker process lived to start it (exit code " in (result.reason or "")


@pytest.mark.parametrize(
    ("code", "cause", "guess"),
    [
        (-9, "(SIGKILL)", ": out of memory?"),
        (-11, "(SIGSEGV)", ": did compiled code of a plugin or library fail?"),
        (-15, "(SIGTERM)", ""),
        (-35, "(signal 35)", ""),
        (1, "(exit code 1)", ""),
    ],
)
def test_only_a_kill_is_put_down_to_memory_and_many_threads_are_named(
    code: int, cause: str, guess: str, tmp_path: Path
) -> None:
    def reason(threads: int, started: float | None) -> str:
        place = Workplace(tmp_path, tmp_path, device="cpu", threads=threads)
        process = types.SimpleNamespace(exitcode=code)
        dead: Any = types.SimpleNamespace(process=process, end=lambda: None)
        task = stages.EvaluatorTask("key", "labelling", "test", (0,), DOMAIN, 11)
        running = local._Running(task, dead, started=started, kills=1, false_starts=9)
        outcome = LocalExecutor(LocalExecutor.Params(), place)._died("job", running)
        assert outcome is not None and outcome.error is not None
        return outcome.error

    if code < 0:
        assert reason(99999, started=1.0) == f"its process was killed twice {cause}{guess}"
    assert reason(1, started=None) == f"no worker process lived to start it {cause}{guess}"
    many = f"no worker process lived to start it {cause}: are 99999 threads (limits.threads) too"
    assert reason(99999, started=None).startswith(many)


def test_one_worker_a_core_and_one_for_a_gpu() -> None:
    assert 1 <= default_workers("cpu") <= 8
    assert default_workers("cuda:1") == 1


def test_limits_come_from_the_configuration(
    configure: Callable[..., Config], tmp_path: Path
) -> None:
    config = configure("[limits]\nseconds = 5\n")
    with make_executor(config, RunDirectory(tmp_path), "local", "cpu", workers=3) as executor:
        assert isinstance(executor, LocalExecutor)
        assert (executor.place.seconds, executor.slots) == (5, 3)
        assert executor.memory_gib > 0  # 80% of the machine's, where none is given
        assert executor.wait(0) == []


Ended = tuple[dict[str, str], str | None]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run a stand-in for a task in this process."""

    def run(body: Callable[..., dict[str, str]], **more: Any) -> Ended:
        monkeypatch.setattr(stages.EvaluatorTask, "run", body)
        task = stages.EvaluatorTask("key", "labelling", "test", (0,), DOMAIN, 11)
        place = Workplace(tmp_path / "artifacts", tmp_path)
        return worker.execute("log", task, place, "cpu", **more)

    return run


def test_a_stage_gets_its_seed_and_device_and_reports_progress(
    work: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    reported: list[float] = []

    def stage(task: stages.Task, store: Store, context: Context) -> dict[str, str]:
        assert (context.seed, context.device) == (11, torch.device("cpu"))
        context.progress(1, 4)
        return {"lane": "wrong shape"}

    assert work(stage, on_progress=reported.append) == ({"lane": "wrong shape"}, None)
    assert reported == [0.0, 0.25]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DpbenchError("give it more images"), "give it more images"),
        (MemoryError(), "out of memory: use fewer workers (--workers) or smaller batches"),
        (KeyError("x"), "KeyError: 'x' (traceback in "),
        (ValueError(), "ValueError (traceback in "),
        (ValueError("one\ntwo"), "ValueError: one (traceback in "),
        (ValueError("x" * 10**6), "ValueError: " + "x" * 999 + "… (traceback in "),
        (ValueError("\ud800"), "ValueError: \\ud800 (traceback in "),
        (SystemExit(0), "SystemExit: 0 (traceback in "),
        (KeyboardInterrupt(), "KeyboardInterrupt (traceback in "),
        (GeneratorExit(), "GeneratorExit (traceback in "),
        (Unspeakable(), "Unspeakable: its message cannot be read (RuntimeError) (traceback in "),
    ],
)
def test_every_error_becomes_one_line(
    work: Callable[..., Ended], error: BaseException, line: str, tmp_path: Path
) -> None:
    def stage(*_: object) -> dict[str, str]:
        raise error

    failures, message = work(stage)
    assert failures == {}
    assert message is not None
    assert message.startswith(line)
    assert "\n" not in message
    if "traceback" not in message and "memory" not in message:
        assert (tmp_path / "log.txt").read_text() == f"{message}\n"


def _refuse(*_: object) -> dict[str, str]:
    raise DpbenchError("give it more images")


def _fill(*_: object) -> dict[str, str]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _fail_a_key(*_: object) -> dict[str, str]:
    os.environ["DPBENCH_X"] = "1"  # which the log should tell
    return {"key": "why"}


def _close_and_raise(*_: object) -> dict[str, str]:
    sys.stdout.close()
    sys.stderr.close()
    raise ValueError("the true reason")


@pytest.mark.parametrize(
    ("body", "ended"),
    [
        (_refuse, ({}, "give it more images")),
        (_fill, ({}, "OSError: [Errno 28] No space left on device")),
        (_fail_a_key, ({"key": "why"}, None)),
        (_close_and_raise, ({}, "ValueError: the true reason")),
    ],
)
def test_a_log_that_cannot_be_written_hides_no_reason(
    work: Callable[..., Ended], body: Callable[..., dict[str, str]], ended: Ended, tmp_path: Path
) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    assert work(body) == ended


def test_an_output_that_a_task_closed_hides_no_reason(work: Callable[..., Ended]) -> None:
    assert work(_close_and_raise) == ({}, "ValueError: the true reason")
    print("and it can still be said")


def test_what_fails_around_a_task_is_told_and_ends_its_worker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local, "execute", _fill)
    ours, theirs = multiprocessing.Pipe()
    task = stages.EvaluatorTask("key", "labelling", "test", (0,), DOMAIN, 11)
    place = Workplace(tmp_path / "artifacts", tmp_path)
    with ours, theirs:
        ended, lasting = local._do("log", task, place, "cpu", theirs)
    assert ended == ({}, "OSError: [Errno 28] No space left on device")
    assert lasting


def test_threads_that_cannot_be_started_are_put_down_to_their_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(local, "execute", refuse)
    task = stages.EvaluatorTask("key", "labelling", "test", (0,), DOMAIN, 11)
    place = Workplace(tmp_path / "artifacts", tmp_path, threads=99999)
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        (_, reason), _ = local._do("log", task, place, "cpu", theirs)
    assert reason is not None
    assert reason.startswith("RuntimeError: can't start new thread: are 99999 threads (limits.thr")


def test_what_a_task_prints_goes_to_its_log(
    work: Callable[..., Ended], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def stage(*_: object) -> dict[str, str]:
        print("from Python")
        os.write(2, b"from below\n")
        subprocess.run(["echo", "from a child"], check=True)
        return {}

    work(stage)
    assert capfd.readouterr() == ("", "")
    log = (tmp_path / "log.txt").read_text()
    assert {"from Python", "from below", "from a child"} <= set(log.splitlines())


@pytest.mark.parametrize(
    ("change", "name", "read"),
    [
        (
            lambda: torch.set_default_dtype(torch.float64),
            "default dtype",
            torch.get_default_dtype,
        ),
        (lambda: torch.set_num_threads(3), "number of threads", torch.get_num_threads),
        (lambda: torch.set_default_device("meta"), "default device", torch.get_default_device),
        (lambda: torch.set_grad_enabled(False), "gradients", torch.is_grad_enabled),
        (lambda: os.environ.update(DPBENCH_X="1"), "environment", lambda: dict(os.environ)),
        (lambda: os.chdir("/"), "working directory", os.getcwd),
        (
            lambda: setattr(torch.nn.functional, "relu", abs),
            "torch.nn.functional.relu",
            lambda: torch.nn.functional.relu,
        ),
        (lambda: setattr(torch.Tensor, "sum", len), "Tensor.sum", lambda: torch.Tensor.sum),
        (lambda: setattr(stages, "decode", len), "dpbench.stages.decode", lambda: stages.decode),
    ],
)
def test_what_a_task_changes_is_put_back_and_said(
    work: Callable[..., Ended],
    tmp_path: Path,
    change: Callable[[], object],
    name: str,
    read: Callable[[], object],
) -> None:
    before = read()

    def stage(*_: object) -> dict[str, str]:
        change()
        return {}

    work(stage)
    assert read() == before
    said = (tmp_path / "log.txt").read_text()
    assert said == f"the task changed, and the worker put back: {name}\n"


@pytest.mark.parametrize("more", ["", "torch.set_num_threads(3)"])
def test_what_torch_changes_by_itself_is_put_back_and_not_said(more: str) -> None:
    script = f"""
import os, torch
from dpbench.executors.state import ProcessState
before, seed = dict(os.environ), torch.manual_seed
state = ProcessState()
torch.optim.SGD(torch.nn.Linear(1, 1).parameters())  # imports the compiler
{more}
print(state.restore(), before == dict(os.environ), seed is torch.manual_seed)
"""
    # This process may have imported the compiler, whose variable others inherit.
    clean = {name: v for name, v in os.environ.items() if not name.startswith("TORCHINDUCTOR")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=clean, capture_output=True, text=True, check=True
    )
    said = "['number of threads']" if more else "[]"
    assert done.stdout == f"{said} True True\n"


def test_random_numbers_start_from_the_tasks_seed_and_leave_no_trace(
    work: Callable[..., Ended],
) -> None:
    drawn: list[float] = []

    def stage(*_: object) -> dict[str, str]:
        drawn.append(torch.rand(()).item())
        return {}

    before = torch.get_rng_state()
    work(stage)
    torch.rand(7)
    work(stage)
    assert drawn[0] == drawn[1]
    torch.set_rng_state(before)


def test_an_outcome_without_error_may_hold_failures() -> None:
    assert Outcome("job", {"key": "why"}, None, 1.0).error is None

"""Bugs planted in an executor: which check catches which."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from fakes import InProcess

from dpbench.errors import DpbenchError
from dpbench.executors.local import LocalExecutor, LocalParams
from dpbench.testing import check, executors

from .planted import Table, assert_caught, ids, own_checks


class OneWorker(LocalParams):
    """One is enough."""

    workers: int | None = 1


class Sound(LocalExecutor):
    """The local one, with one worker."""

    name = "sound"
    Params = OneWorker


class StartsAtOnce(InProcess):
    """Starts a helper before anything is asked of it."""

    def __init__(self, params, place):
        super().__init__(params, place)
        self.helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(9)"])

    def __exit__(self, *exception):
        self.helper.kill()
        self.helper.wait()


class SwallowsErrors(InProcess):
    def wait(self, seconds):
        return [replace(outcome, error=None) for outcome in super().wait(seconds)]


class LosesTheNext(Sound):
    """After a worker's death every task fails."""

    dead = False

    def wait(self, seconds):
        ended = super().wait(seconds)
        found = [replace(o, error="no worker is left") if self.dead else o for o in ended]
        self.dead |= any(outcome.error for outcome in ended)
        return found


class NeedsACluster(InProcess):
    """Can be made anywhere, and entered where there is a cluster."""

    def __enter__(self):
        raise DpbenchError("no cluster answers")


class NamesNoLimit(Sound):
    def wait(self, seconds):
        return [replace(outcome, error=None) for outcome in super().wait(seconds)]


class LeavesWorkers(Sound):
    """Ends nothing when it is left; the test does."""

    left: list[Any] = []  # noqa: RUF012  # what the test ends

    def __exit__(self, *exception):
        LeavesWorkers.left.append(super().__exit__)


TABLE: Table = [
    (StartsAtOnce, "starts-nothing-by-itself", "starts 1 processes"),
    (SwallowsErrors, "runs-tasks-and-says-how-each-ended", "ends with ''"),
    (LosesTheNext, "survives-a-task-that-ends-its-process", "the task after it fails"),
    (NamesNoLimit, "stops-a-task-that-hangs", "has no error"),
    (LeavesWorkers, "leaves-no-process-behind", "processes are left"),
]


@pytest.mark.parametrize(("bug", "name", "word"), TABLE, ids=ids(TABLE))
def test_a_planted_bug_is_caught(
    bug: Any, name: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "END", 0.2)
    try:
        assert_caught("executor", bug, name, word)
    finally:
        while LeavesWorkers.left:
            LeavesWorkers.left.pop()()


def test_every_check_has_a_bug() -> None:
    assert own_checks("executor") <= {name for _, name, _ in TABLE}


def test_an_executor_in_this_process_is_not_asked_to_survive() -> None:
    report = check(InProcess)
    assert report.ok, str(report)
    assert len(report.skipped) == 3


def test_an_executor_without_its_cluster_is_not_blamed() -> None:
    report = check(NeedsACluster)
    assert report.ok, str(report)
    reasons = {result.check: result.reason for result in report.skipped}
    assert own_checks("executor") <= reasons.keys()
    assert set(reasons.values()) == {"it refuses: no cluster answers"}


def test_the_local_executor_raises_no_alarm() -> None:
    report = check(Sound)
    assert report.ok, str(report)
    assert not report.skipped

"""What a worker anywhere does with an order: a process that a task spoilt does no other."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dpbench.api import Params, Workplace
from dpbench.component import Component
from dpbench.executors import remote
from dpbench.executors.remote import Order, ProcessDied, RemoteExecutor, carry_out
from dpbench.executors.worker import Ended
from dpbench.stages import EvaluatorTask

TASK = EvaluatorTask(
    "key", "labelling", "test", (0,), Component("evaluator", "domain", "domain", {}), 11
)


class Left(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Order:
    def leave(code: int) -> None:
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(remote, "installed_code", dict)
    monkeypatch.setattr(remote, "_lasting", [])
    place = Workplace(tmp_path / "artifacts", tmp_path / "logs", "cpu")
    return Order("job", TASK, place, "cpu", tmp_path / "report")


def doing(monkeypatch: pytest.MonkeyPatch, task: Any) -> None:
    def execute(*arguments: Any) -> Ended:
        task(arguments[-1])
        return {}, None

    monkeypatch.setattr(remote, "execute", execute)


def test_a_process_that_was_changed_for_good_takes_no_other_task(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    doing(monkeypatch, lambda on_lasting: on_lasting(["inference mode"]))
    assert carry_out(order) == ({}, None)  # what it did itself is done
    with pytest.raises(Left):
        carry_out(order)


def test_nor_does_one_in_which_a_task_left_a_thread(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = threading.Event()
    doing(monkeypatch, lambda _: threading.Thread(target=end.wait).start())
    try:
        assert carry_out(order) == ({}, None)
        with pytest.raises(Left):
            carry_out(order)
    finally:
        end.set()


def test_one_that_changed_nothing_goes_on(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    doing(monkeypatch, lambda _: None)
    for _ in range(3):
        assert carry_out(order) == ({}, None)


class Spoilt(RemoteExecutor):
    """Its only process was spoilt ``times`` times, then it works."""

    name = "spoilt"
    device = "cpu"
    times = 5
    slots = 1

    def launch(self, order: Order) -> Any:
        return order.report

    def finished(self, handles: Any, seconds: float) -> set[Any]:
        return set(handles)

    def result(self, handle: Path) -> Ended:
        if not self.times:
            return {}, None
        self.times -= 1
        handle.with_suffix(".spoilt").write_text("inference mode\n")
        raise ProcessDied

    def stop(self, handle: Any) -> None:
        pass


def test_an_order_that_met_spoilt_processes_is_not_to_blame(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "artifacts", tmp_path / "logs", "cpu")
    with Spoilt(Params(), place) as executor:
        executor.submit("job", TASK)
        ended = [outcome for _ in range(10) for outcome in executor.wait(0)]
    assert [(outcome.job_id, outcome.error) for outcome in ended] == [("job", None)]

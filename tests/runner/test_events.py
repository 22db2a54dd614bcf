"""Life-cycle hooks: what a listening plugin is told, and that it can harm nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
from fakes import TINY

from dpbench import hookimpl
from dpbench.api.events import RunInfo, TaskInfo
from dpbench.plugins import Refused, Registry
from dpbench.results import Result
from dpbench.runner.withheld import WITHHELD

Carry = Callable[..., tuple[list[Result], fake_plugins.InProcess]]


class Recorder:
    """Keeps everything that it is told."""

    def __init__(self) -> None:
        self.runs: list[RunInfo] = []
        self.told: list[tuple[str, str]] = []
        self.fractions: list[float] = []
        self.results: list[Result] = []
        self.reasons: list[str] = []

    @hookimpl
    def planned(self, run: RunInfo) -> None:
        self.runs.append(run)

    @hookimpl
    def started(self, task: TaskInfo) -> None:
        self.told.append(("started", task.stage))

    @hookimpl
    def progress(self, fraction: float) -> None:
        self.fractions.append(fraction)

    @hookimpl
    def finished(self, task: TaskInfo, results: Sequence[Result]) -> None:
        self.told.append(("finished", task.stage))
        self.results.extend(results)

    @hookimpl
    def failed(self, task: TaskInfo, reason: str, results: Sequence[Result]) -> None:
        self.told.append(("failed", task.stage))
        self.reasons.append(reason)
        self.results.extend(results)


class Rude:
    """Raises in every hook that has an error to raise."""

    @hookimpl
    def planned(self) -> None:
        raise RuntimeError("no plans")

    @hookimpl
    def finished(self) -> None:
        raise SystemExit(3)


@pytest.fixture
def recorder(fakes: Registry) -> Recorder:
    listener = Recorder()
    fakes.add(listener, "dpbench-recorder", "1")
    return listener


def test_every_task_is_told_when_it_starts_and_when_it_ends(
    carry_out: Carry, recorder: Recorder, tmp_path: Path
) -> None:
    results, executor = carry_out()
    (run,) = recorder.runs
    assert run.directory == tmp_path / "runs"
    assert sorted(task.stage for task in run.tasks) == sorted(executor.stages)
    assert all(task.title and task.cost > 0 for task in run.tasks)
    assert run.results == ()
    for event in ("started", "finished"):
        stages = [stage for told, stage in recorder.told if told == event]
        assert sorted(stages) == sorted(executor.stages)
    assert recorder.told.index(("started", "score")) < recorder.told.index(("finished", "score"))
    assert [r.metrics for r in recorder.results] == [r.metrics for r in results]
    assert all(0 <= fraction <= 1 for fraction in recorder.fractions)


def test_rows_that_are_there_come_with_the_plan(carry_out: Carry, recorder: Recorder) -> None:
    results, _ = carry_out()
    carry_out()
    again = recorder.runs[1]
    assert again.tasks == ()
    assert [result.key for result in again.results] == [result.key for result in results]


def test_a_failure_is_told_to_the_end_of_its_chain(carry_out: Carry, recorder: Recorder) -> None:
    carry_out("[public.linear]\nfails = true\n")
    assert {stage for event, stage in recorder.told if event == "failed"} >= {
        "public",
        "latents",
        "generator",
        "score",
    }
    assert all("the public model" in reason for reason in recorder.reasons)
    assert ("started", "latents") not in recorder.told
    (row,) = recorder.results
    assert row.status == "skipped"


def test_a_hook_that_raises_costs_a_line_in_the_log(
    carry_out: Carry, fakes: Registry, recorder: Recorder, tmp_path: Path
) -> None:
    fakes.listeners.insert(0, _listener(Rude()))
    (result,), _ = carry_out()
    assert result.status == "ok"
    assert recorder.runs and recorder.results
    log = (tmp_path / "runs" / "logs" / "hooks.txt").read_text()
    assert "dpbench-rude, planned: " in log
    assert "RuntimeError: no plans" in log
    assert "SystemExit: 3" in log


def _listener(plugin: object) -> Any:
    registry = Registry()
    registry.add(plugin, "dpbench-rude", "1")
    (listener,) = registry.listeners
    return listener


def test_a_misspelt_event_is_refused() -> None:
    class Misspelt:
        @hookimpl
        def finishd(self) -> None:
            pass

    with pytest.raises(Refused, match="there is no hook 'finishd'; did you mean 'finished'"):
        Registry().add(Misspelt(), "dpbench-misspelt", "1")


def test_in_secure_mode_no_listener_hears_why_a_task_failed(
    carry_out: Carry, recorder: Recorder, tmp_path: Path
) -> None:
    secret = "record 17 is not what it was"
    (row,), _ = carry_out(base="secure_rng = true\n" + TINY, dies_on={"generator": secret})
    assert recorder.reasons and not any(secret in reason for reason in recorder.reasons)
    assert row.status == "failed" and row.reason == WITHHELD
    logs = (path.read_text() for path in (tmp_path / "runs" / "logs").iterdir())
    assert any(secret in text for text in logs)

"""What runs when, and what a failure takes along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dpbench.api import Executor, Outcome, Params, Workplace
from dpbench.metrics.protocol import Protocol
from dpbench.planning.config import Component
from dpbench.planning.plan import Job
from dpbench.runner.scheduler import Progress, run_jobs
from dpbench.stages import GeneratorTask, Lane, PublicTask, ScoreTask, Task

THING = Component("public", "thing", "thing", {})


class Scripted(Executor):
    """Ends tasks one at a time, in order, as a script says; keeps what was at work when."""

    def __init__(self, slots: int = 1, errors: Callable[[str, Task], str | None] | None = None):
        super().__init__(Params(), Workplace(Path(), Path()))
        self._slots, self.errors = slots, errors or (lambda _i, _t: None)
        self.failures: dict[str, dict[str, str]] = {}
        self.order: list[str] = []
        self.most = 0
        self.queue: list[tuple[str, Task]] = []

    def __exit__(self, *exception: object) -> None: ...

    @property
    def slots(self) -> int:
        return self._slots

    def submit(self, job_id: str, task: Task) -> None:
        self.order.append(job_id)
        self.queue.append((job_id, task))
        self.most = max(self.most, len(self.queue))

    def wait(self, seconds: float) -> list[Outcome]:
        if not self.queue:
            return []
        job_id, task = self.queue.pop(0)
        failures = self.failures.get(job_id, {})
        return [Outcome(job_id, failures, self.errors(job_id, task), 1.0)]

    def progress(self) -> dict[str, float]:
        return {job_id: 0.5 for job_id, _ in self.queue}


def job(job_id: str, *needs: str, cost: float = 1.0) -> Job:
    return Job(job_id, job_id, PublicTask(job_id, "data", THING, 0), needs, cost)


def group(job_id: str, *keys: str, needs: tuple[str, ...] = ()) -> Job:
    lanes = tuple(Lane(key, {}, 1.0, None, 1e-6, 1.0, 0) for key in keys)
    return Job(job_id, job_id, GeneratorTask("z", THING, lanes), needs, 4.0)


def scoring(job_id: str, trained: str, *needs: str) -> Job:
    task = ScoreTask(
        "trial", "s", "d", "e", "e", Protocol(name="p"), ((THING, f"{job_id}-key"),), 0,
        trained=trained,
    )  # fmt: skip
    return Job(job_id, job_id, task, needs, 1.0)


def table(*jobs: Job) -> dict[str, Job]:
    return {job.id: job for job in jobs}


def only(*bad: str) -> Callable[[str, Task], str | None]:
    return lambda job_id, _task: "it broke" if job_id in bad else None


def test_jobs_run_after_what_they_need() -> None:
    executor = Scripted(slots=3)
    progress = run_jobs(table(job("c", "b"), job("b", "a"), job("a"), job("d", "a", "c")), executor)
    assert executor.order == ["a", "b", "c", "d"]
    assert progress.done == {"a", "b", "c", "d"}


def test_the_longest_chain_starts_first_and_slots_are_kept() -> None:
    jobs = table(job("short"), job("head"), job("tail", "head", cost=50), job("long", cost=20))
    executor = Scripted(slots=2)
    run_jobs(jobs, executor)
    assert executor.order == ["head", "long", "tail", "short"]
    assert executor.most == 2


def test_a_failure_skips_what_depends_on_it_and_nothing_else() -> None:
    jobs = table(job("a"), job("b", "a"), job("c", "b"), job("x"), job("y", "x"))
    progress = run_jobs(jobs, Scripted(errors=only("a")))
    assert progress.failed == {"a": "it broke"}
    assert progress.skipped == {"b": "a", "c": "a"}
    assert progress.done == {"x", "y"}


def test_a_group_that_fails_is_run_again_lane_by_lane() -> None:
    jobs = table(
        group("g", "k1", "k2", "k3"),
        *(scoring(f"s{i}", f"k{i}", "g") for i in (1, 2, 3)),
        scoring("control", ""),
    )
    bad = only("g", "g/k2")
    executor = Scripted(errors=bad)
    progress = run_jobs(jobs, executor)
    assert {"g", "g/k1", "g/k2", "g/k3"} <= set(executor.order)
    assert progress.failed == {"g/k2": "it broke", "k2": "it broke"}
    assert {"g/k1", "g/k3", "s1", "s3", "control"} <= progress.done
    assert set(progress.skipped) == {"s2"}
    assert progress.jobs["s1"].needs == ("g/k1",)


def test_a_lane_that_fails_by_itself_needs_no_second_run() -> None:
    jobs = table(group("g", "k1", "k2"), scoring("s1", "k1", "g"), scoring("s2", "k2", "g"))
    executor = Scripted()
    executor.failures["g"] = {"k1": "wrong shape"}
    progress = run_jobs(jobs, executor)
    assert executor.order == ["g", "s2"]
    assert progress.failed == {"k1": "wrong shape"}
    assert progress.skipped == {"s1": "k1"}


def test_a_group_of_one_is_not_run_twice() -> None:
    executor = Scripted(errors=only("g"))
    progress = run_jobs(table(group("g", "k"), scoring("s", "k", "g")), executor)
    assert executor.order == ["g"]
    assert progress.failed == {"g": "it broke", "k": "it broke"}
    assert progress.skipped == {"s": "g"}


def test_whoever_watches_hears_of_every_end_once() -> None:
    heard: list[str] = []
    ticks: list[Progress] = []

    def watch(progress: Progress, ended: Job | None) -> None:
        ticks.append(replace(progress))
        if ended:
            heard.append(ended.id)

    jobs = table(job("a"), job("b", "a"), job("c"), group("g", "k1", "k2"))
    progress = run_jobs(jobs, Scripted(slots=2, errors=only("a")), watch)
    assert sorted(heard) == ["a", "b", "c", "g"]
    assert len(ticks) > len(heard)
    assert progress.running == {}


def test_no_jobs_end_at_once() -> None:
    assert run_jobs({}, Scripted()).done == set()


def test_time_left_follows_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpbench.runner.scheduler.time.monotonic", lambda: 100.0)
    progress = Progress(table(job("a", cost=10), job("b", cost=30)), started=90.0)
    assert progress.seconds_left() is None
    progress.done.add("a")
    assert progress.seconds_left() == pytest.approx(30.0)
    progress.running["b"] = 1 / 3
    assert progress.seconds_left() == pytest.approx(10.0)


def test_time_left_is_never_negative_when_a_group_is_split(monkeypatch: Any) -> None:
    left: list[float | None] = []
    jobs = table(group("g", *(f"k{i}" for i in range(8))))
    run_jobs(jobs, Scripted(errors=only("g")), lambda p, _j: left.append(p.seconds_left()))
    assert all(seconds is None or seconds >= 0 for seconds in left)

"""What runs when, and what a failure takes along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dpbench.api import Context, Executor, Outcome, Params, Workplace
from dpbench.planning.plan import Job
from dpbench.runner.scheduler import Count, Loss, Progress, run_jobs
from dpbench.stages import Task
from dpbench.store import ArtifactId, Store


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


@dataclass(frozen=True)
class Thing(Task):
    """Reads and writes what it is told to; splits where it writes several things."""

    left: tuple[str, ...]
    after: tuple[str, ...] = ()
    stage: ClassVar[str] = "thing"
    plural: ClassVar[str] = "things"
    seed: int = 0

    def reads(self) -> list[ArtifactId]:
        return [ArtifactId("thing", key) for key in self.after]

    def writes(self) -> list[ArtifactId]:
        return [ArtifactId(self.stage, key) for key in self.left]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        return {}

    def split(self) -> list[Task]:
        return [replace(self, left=(k,)) for k in self.left] if len(self.left) > 1 else []


def job(job_id: str, *needs: str, cost: float = 1.0) -> Job:
    return Job(job_id, job_id, Thing((job_id,), needs), cost)


def group(job_id: str, *keys: str, needs: tuple[str, ...] = ()) -> Job:
    return Job(job_id, job_id, Thing(keys, needs), 4.0)


def table(*jobs: Job) -> dict[str, Job]:
    return {job.id: job for job in jobs}


def reasons(progress: Progress) -> dict[str, str]:
    return {artifact.key: loss.reason for artifact, loss in progress.lost.items()}


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
    loss = Loss(ArtifactId("thing", "a"), "a", "it broke")
    assert progress.skipped == {"b": loss, "c": loss}
    assert progress.done == {"x", "y"}


def test_a_group_that_fails_is_run_again_lane_by_lane() -> None:
    jobs = table(
        group("g", "k1", "k2", "k3"),
        *(job(f"s{i}", f"k{i}") for i in (1, 2, 3)),
        job("control"),
    )
    bad = only("g", "g/2")
    executor = Scripted(errors=bad)
    progress = run_jobs(jobs, executor)
    assert executor.order[:4] == ["g", "g/1", "g/2", "g/3"]
    assert progress.failed == {"g/2": "it broke"}
    assert progress.split == {"g": "it broke"}
    assert progress.done == {"g/1", "g/3", "s1", "s3", "control"}
    assert set(progress.skipped) == {"s2"}
    assert progress.skipped["s2"].reason == "it broke"


def test_a_lane_that_fails_by_itself_needs_no_second_run() -> None:
    jobs = table(group("g", "k1", "k2"), job("s1", "k1"), job("s2", "k2"))
    executor = Scripted()
    executor.failures["g"] = {"k1": "wrong shape"}
    progress = run_jobs(jobs, executor)
    assert executor.order == ["g", "s2"]
    assert progress.failed == {}
    assert reasons(progress) == {"k1": "wrong shape", "s1": "wrong shape"}
    assert set(progress.skipped) == {"s1"}


def test_a_group_of_one_is_not_run_twice() -> None:
    executor = Scripted(errors=only("g"))
    progress = run_jobs(table(group("g", "k"), job("s", "k")), executor)
    assert executor.order == ["g"]
    assert progress.failed == {"g": "it broke"}
    assert set(progress.skipped) == {"s"}


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


def test_counts_are_of_artifacts_and_never_more_than_were_planned() -> None:
    jobs = table(group("g", "k1", "k2", "k3"), job("s1", "k1"), job("s2", "k2"), job("s3", "k3"))
    seen: list[tuple[int, int, Count]] = []

    def watch(progress: Progress, _ended: Job | None) -> None:
        seen.append((progress.ended, len(progress.jobs), progress.counts()["thing"]))

    run_jobs(jobs, Scripted(errors=only("g", "g/2")), watch)
    assert all(ended <= jobs for ended, jobs, _ in seen)
    assert all(count.total == 6 for *_, count in seen)
    assert seen[-1] == (6, 6, Count(total=6, done=4, failed=2))
    assert seen[-1][2].left == 0


def test_what_is_neither_there_nor_coming_is_settled() -> None:
    a, b, elsewhere = (ArtifactId("thing", key) for key in ("a", "b", "elsewhere"))
    settled: dict[str, bool] = {}

    def watch(progress: Progress, ended: Job | None) -> None:
        if ended:
            settled[ended.id] = progress.settled([a, b, elsewhere])

    run_jobs(table(job("a"), job("b", "a")), Scripted(), watch)
    assert settled == {"a": False, "b": True}


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

"""What a person sees of a run: the plan, one live table, a closing line."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from dpbench.leaderboard.words import duration
from dpbench.planning.plan import Job
from dpbench.results import Result
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress
from dpbench.stages import outputs

__all__ = ["LiveView", "artifact_counts", "plural", "print_end", "print_plan", "say"]

STAGES = {
    "evaluator": "evaluators",
    "public": "public models",
    "latents": "latents",
    "generator": "private generators",
    "score": "scores",
}


def say(console: Console, line: str) -> None:
    """Print one line as it is: no markup, and no break that a pipe would keep."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def plural(count: int, noun: str) -> str:
    """Return ``"1 trial"``, ``"2 trials"``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def print_plan(prepared: Prepared, console: Console) -> None:
    """Print how many artifacts each stage needs and how many of them are there."""
    plan = prepared.plan
    methods = sorted({trial.method.name for trial in prepared.trials})
    counts = f"{plural(len(prepared.trials), 'trial')} of {plural(len(methods), 'method')}"
    say(console, f"{counts}: {', '.join(methods)}")
    table = Table("stage", "to compute", "cached", title="plan", title_justify="left")
    for stage, title in STAGES.items():
        todo, cached = plan.count(stage)
        table.add_row(title, str(todo), str(cached))
    console.print(table)
    for name in plan.corrupt:
        say(console, f"artifact {name} was corrupt: removed, it will be computed again")
    if not plan.jobs:
        console.print("Everything is cached: nothing to compute.")


class LiveView:
    """One live table of stages and running jobs, with the time left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._started = time.monotonic()

    def __enter__(self) -> LiveView:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def update(self, progress: Progress, job: Job | None) -> None:
        """Show where a run stands; off a terminal, print a line for each finished job."""
        if self.console.is_terminal:
            self._live.update(self._table(progress))
        elif job is not None:
            ended = progress.failed.get(job.id)
            word = f"failed: {ended}" if ended else "done"
            if job.id in progress.skipped:
                word = "skipped"
            elapsed = duration(time.monotonic() - self._started)
            total = len(progress.jobs)
            number = sum(_ended(progress, job_id) for job_id in progress.jobs)
            say(self.console, f"[{elapsed}] {number}/{total} {job.title}: {word}")

    def _table(self, progress: Progress) -> Table:
        left = progress.seconds_left()
        elapsed = duration(time.monotonic() - self._started)
        title = f"{elapsed} so far, " + (f"about {duration(left)} left" if left else "estimating")
        table = Table("stage", "", "done", "failed", "left", title=title, title_justify="left")
        for stage, counts in artifact_counts(progress).items():
            total, rest = counts.total(), counts["left"]
            bar = ProgressBar(total=total, completed=total - rest, width=24)
            failed = f"[red]{counts['failed']}[/red]" if counts["failed"] else "0"
            table.add_row(STAGES.get(stage, stage), bar, str(counts["done"]), failed, str(rest))
        for job_id, fraction in progress.running.items():
            bar = ProgressBar(total=1.0, completed=fraction, width=24)
            table.add_row(
                escape(f"  {progress.jobs[job_id].title}"), bar, f"{fraction:.0%}", "", ""
            )
        return table


def artifact_counts(progress: Progress) -> dict[str, Counter[str]]:
    """Count artifacts by stage as ``done``, ``failed`` or ``left``, in the units of the plan."""
    state: dict[tuple[str, str], str] = {}
    for job_id, job in progress.jobs.items():  # the parts of a group come after it
        for stage, key in outputs(job.task):
            failed = key in progress.failed or job_id in {*progress.failed, *progress.skipped}
            word = "done" if job_id in progress.done else "left"
            state[stage, key] = "failed" if failed else word
    counts: dict[str, Counter[str]] = {}
    for stage in sorted({stage for stage, _ in state}, key=_place):
        counts[stage] = Counter(word for (of, _), word in state.items() if of == stage)
    return counts


def _place(stage: str) -> tuple[int, str]:
    known = list(STAGES)
    return (known.index(stage) if stage in known else len(known)), stage


def _ended(progress: Progress, job_id: str) -> bool:
    return job_id in progress.done or job_id in progress.failed or job_id in progress.skipped


def print_end(console: Console, results: list[Result], seconds: float, written: Path) -> None:
    """Print what became of the trials, and where the leaderboard lies."""
    counts = Counter(result.status for result in results if not result.is_control)
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    say(console, f"Finished in {duration(seconds)}: {words}. Leaderboard in {written}/")
    for result in results:
        if result.status not in ("ok", "collapsed"):
            where = f"{result.method} epsilon {result.epsilon} clip {result.clip}"
            say(console, f"{result.status}: {where}: {result.reason}")

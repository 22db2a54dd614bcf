"""What a person sees of a run: the plan, one live table, a closing line."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dpbench.cli.best import BestSoFar
from dpbench.cli.console import directory_option, elsewhere, say
from dpbench.cli.strip import strip
from dpbench.leaderboard.words import count_text, duration, significant
from dpbench.planning.plan import Job
from dpbench.results import Result
from dpbench.runner.choices import said_late
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress
from dpbench.runner.status import Pace
from dpbench.stages import STAGES

__all__ = ["LiveView", "print_end", "print_plan"]

MOST_FAILURES = 2
#: Methods that a plan names; with every plugin installed there are a hundred.
MOST_METHODS = 24
#: Seconds for which a table stands.
EVERY = 0.25
#: Lines of a terminal that has room for samples.
TALL = 34
#: What a reader calls the artifacts of each stage.
TITLES = {task.stage: task.plural for task in STAGES}


def print_plan(prepared: Prepared, console: Console) -> None:
    """Print how many artifacts each stage needs and how many are there, and what to beware of."""
    plan = prepared.plan
    methods = sorted({trial.method.name for trial in prepared.trials})
    counts = f"{count_text(len(prepared.trials), 'trial')} of {count_text(len(methods), 'method')}"
    more = f", and {len(methods) - MOST_METHODS} more" if len(methods) > MOST_METHODS else ""
    say(console, f"{counts}: {', '.join(methods[:MOST_METHODS])}{more}")
    table = Table("stage", "to compute", "cached", title="plan", title_justify="left")
    for stage, title in TITLES.items():
        todo, cached = plan.count(stage)
        table.add_row(title, str(todo), str(cached))
    console.print(table)
    for name in plan.corrupt:
        say(console, f"artifact {name} is corrupt: it will be computed again")
    for name in plan.outdated:
        say(console, f"artifact {name} is of inputs that were made anew: it will be, too")
    if not plan.jobs:
        console.print("Everything is cached: nothing to compute.")
    for warning in _warnings(prepared):
        say(console, warning)


def _warnings(prepared: Prepared) -> Iterator[str]:
    """Yield what of a plan costs more privacy than its trials do."""
    if again := prepared.released_again():
        yield (
            f"{count_text(again, 'private generator')} to be learnt a second time with new noise: "
            "what both spent adds up, and releases.json keeps what the first spent"
        )
    if late := len(said_late(prepared)):
        yield (
            f"select was stated after scores of {count_text(late, 'method and target')} were seen: "
            "there it counts as a choice by scores"
        )


class LiveView:
    """One live table of stages and running jobs, with the time left and the best so far."""

    def __init__(self, console: Console, prepared: Prepared | None = None) -> None:
        self.console = console
        self._best = BestSoFar(prepared.directory.root) if prepared else None
        self._store = prepared.store if prepared else None
        self._rows = [row for row in prepared.plan.rows if row.trial] if prepared else []
        self._shown: tuple[str, Text] | None = None
        self._live = Live(console=console, refresh_per_second=1 / EVERY, transient=True)
        self._started, self._pace = time.monotonic(), Pace(EVERY)

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
            if self._pace.due:
                with self._pace.taking():
                    self._live.update(Group(self._table(progress), *self._beneath()))
        elif job is not None:
            elapsed = duration(time.monotonic() - self._started)
            number = f"{progress.ended}/{len(progress.jobs)}"
            say(self.console, f"[{elapsed}] {number} {job.title}: {_fate(job, progress)}")

    def _beneath(self) -> Iterator[RenderableType]:
        """Yield who leads, and samples of the trial that was scored last."""
        if self._best is None:
            return
        self._best.look()
        yield from (Text(line, style="bold") for line in self._best.lines())
        if self._best.latest and self.console.height >= TALL:
            yield from self._samples(self._best.latest)

    def _samples(self, row: Result) -> Iterator[RenderableType]:
        """Yield a strip of samples in half blocks; read again only for another trial."""
        key = row.artifacts.get("features", "")
        if self._store and (self._shown is None or self._shown[0] != key):
            self._shown = key, strip(self._store, key, self.console.width)
        if self._shown and self._shown[1]:
            yield Text(
                f"samples of {row.method} at ε = {significant(row.epsilon or math.inf)}",
                style="dim",
            )
            yield self._shown[1]

    def _table(self, progress: Progress) -> Table:
        left = progress.seconds_left()
        elapsed = duration(time.monotonic() - self._started)
        title = f"{elapsed} so far, " + (f"about {duration(left)} left" if left else "estimating")
        table = Table("stage", "", "done", "failed", "left", title=title, title_justify="left")
        counts = progress.counts()
        for stage in sorted(counts, key=[*TITLES, *counts].index):
            count = counts[stage]
            bar = ProgressBar(total=count.total, completed=count.total - count.left, width=24)
            failed = f"[red]{count.failed}[/red]" if count.failed else "0"
            title = TITLES.get(stage, stage)
            table.add_row(title, bar, str(count.done), failed, str(count.left))
        if rows := self._rows:
            settled = [row for row in rows if progress.settled(row.needs)]
            lost = sum(any(a in progress.lost for a in row.needs) for row in settled)
            done, left = len(settled) - lost, len(rows) - len(settled)
            bar = ProgressBar(total=len(rows), completed=len(settled), width=24)
            table.add_row("trials", bar, str(done), str(lost), str(left), style="bold")
        for job_id, fraction in progress.running.items():
            bar = ProgressBar(total=1.0, completed=fraction, width=24)
            table.add_row(
                escape(f"  {progress.jobs[job_id].title}"), bar, f"{fraction:.0%}", "", ""
            )
        return table


def print_end(console: Console, results: Sequence[Result], seconds: float, written: Path) -> None:
    """Print what became of the trials, and where the leaderboard lies."""
    counts = Counter(result.status for result in results if not result.is_control)
    words = ", ".join(f"{number} {status}" for status, number in counts.items())
    say(console, f"Finished in {duration(seconds)}: {words}. Leaderboard in {written}/")
    bad = [result for result in results if result.status not in ("ok", "collapsed")]
    for result in bad[:MOST_FAILURES]:
        where = f"{result.method} epsilon {result.epsilon} clip {result.clip}"
        say(console, f"{result.status}: {where}: {result.reason}")
    if len(bad) > MOST_FAILURES:
        where = directory_option(written.parent)
        say(console, f"and {len(bad) - MOST_FAILURES} more: dpbench leaderboard --detail{where}")
    if bad:
        say(console, "the same command tries them again, and nothing else")
    say(console, elsewhere(written.parent))


def _fate(job: Job, progress: Progress) -> str:
    if job.id in progress.failed:
        return f"failed: {progress.failed[job.id]}"
    if job.id in progress.split:
        return f"failed: {progress.split[job.id]}; its trials run again one by one"
    if job.id in progress.skipped:
        return "skipped"
    written = job.task.writes()
    lost = [progress.lost[artifact].reason for artifact in written if artifact in progress.lost]
    return f"{len(lost)} of {len(written)} failed: {lost[0]}" if lost else "done"

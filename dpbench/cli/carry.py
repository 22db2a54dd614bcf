"""Carry out a plan before a person's eyes: what ``run`` and ``score`` share."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console

from dpbench.api import Executor
from dpbench.cli.console import command_line, say
from dpbench.cli.interrupt import Interrupts
from dpbench.cli.live import LiveView
from dpbench.leaderboard import Leaderboard, load
from dpbench.planning.plan import Job
from dpbench.results import Result
from dpbench.runner.execute import execute
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress, warnings_of
from dpbench.runner.status import Reporter

__all__ = ["carry_out", "exit_code"]


def carry_out(
    prepared: Prepared,
    executor: Executor,
    console: Console,
    started: float,
    command: str | None = None,
) -> Leaderboard:
    """Execute a plan under a live view, and enter it into the directory's history.

    ``command`` is what the history names; by default what was typed.

    Returns the plan's rows as the leaderboard reads them, audits included.

    Raises:
        KeyboardInterrupt: Ctrl-C; what had ended is kept.
    """
    directory = prepared.directory
    report = Reporter(directory.root, command or command_line())
    last = Progress({})
    with Interrupts() as interrupts, LiveView(console, prepared) as view:

        def changed(progress: Progress, job: Job | None) -> None:
            nonlocal last
            last = progress
            report(progress)
            view.update(progress, job)
            if job is not None and job.id in progress.done:
                for warning in warnings_of(job, prepared.store):
                    say(console, f"warning: {job.title}: {warning}")
            interrupts.check()

        with directory.lock(prepared.patience):
            try:
                results = execute(prepared, executor, changed)
            finally:
                report(last, ended=True)
            seconds = time.monotonic() - started
            directory.record(command or command_line(), seconds, len(prepared.plan.jobs))
    if not results:
        return Leaderboard(())
    return load(directory.root).only({result.key for result in results})


def exit_code(results: Iterable[Result]) -> int:
    """Return 0 if every trial gave a figure, else 1."""
    return 0 if all(result.status in ("ok", "collapsed") for result in results) else 1

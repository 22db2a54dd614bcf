"""Carry out a plan; every finished cell is kept as a result at once."""

from __future__ import annotations

from collections.abc import Callable

from dpbench.api import Executor
from dpbench.planning.plan import Cell, Job
from dpbench.results import Result, save_result
from dpbench.runner.assemble import assemble
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress, run_jobs

__all__ = ["execute"]


def execute(
    prepared: Prepared,
    executor: Executor,
    on_change: Callable[[Progress, Job | None], None] = lambda _p, _j: None,
) -> list[Result]:
    """Carry out a plan, alone in its directory; every finished cell is kept at once.

    Returns the results of all cells of the plan, in its order.

    Raises:
        DirectoryInUse: another run is using the directory.
    """
    with prepared.directory.lock(prepared.patience):
        for cell in prepared.plan.cells:
            if not cell.jobs:
                _keep(prepared, cell, Progress({}))
        progress = _run_jobs(prepared, executor, on_change)
        return [_keep(prepared, cell, progress) for cell in prepared.plan.cells]


def _run_jobs(
    prepared: Prepared, executor: Executor, on_change: Callable[[Progress, Job | None], None]
) -> Progress:
    waiting: dict[str, list[Cell]] = {}
    for cell in prepared.plan.cells:
        for job_id in cell.jobs:
            waiting.setdefault(job_id, []).append(cell)

    def changed(progress: Progress, job: Job | None) -> None:
        for cell in waiting.get(job.id, ()) if job else ():
            if all(_ended(job_id, progress) for job_id in cell.jobs):
                _keep(prepared, cell, progress)
        on_change(progress, job)

    for stage, key in prepared.plan.stale:
        prepared.store.remove(stage, key)
    with executor:
        return run_jobs(prepared.plan.jobs, executor, changed)


def _keep(prepared: Prepared, cell: Cell, progress: Progress) -> Result:
    result = assemble(cell, prepared.store, progress)
    save_result(prepared.directory.root, result)
    return result


def _ended(job_id: str, progress: Progress) -> bool:
    return job_id in progress.done or job_id in progress.failed or job_id in progress.skipped

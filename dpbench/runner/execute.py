"""Carry out a plan; every finished row is kept as a result at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from dpbench.api import Executor
from dpbench.planning.plan import Job, Row
from dpbench.privacy.ledger import Ledger
from dpbench.results import Choice, Result, save_result
from dpbench.runner.assemble import assemble
from dpbench.runner.choices import noisy_choices, stated_choices
from dpbench.runner.companies import note_company
from dpbench.runner.events import Announcer
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress, run_jobs
from dpbench.stages import GeneratorTask
from dpbench.store import ArtifactId

__all__ = ["execute"]

NOTHING: Mapping[str, Choice] = MappingProxyType({})


def execute(
    prepared: Prepared,
    executor: Executor,
    on_change: Callable[[Progress, Job | None], None] = lambda _p, _j: None,
) -> list[Result]:
    """Carry out a plan, alone in its directory; every finished row is kept at once.

    Returns the results of all rows of the plan, in its order.

    Raises:
        DirectoryInUse: another run is using the directory.
    """
    with prepared.directory.lock(prepared.patience):
        stated = stated_choices(prepared)  # before anything is scored
        expected = prepared.plan.writers()
        there = [row for row in prepared.plan.rows if expected.keys().isdisjoint(row.needs)]
        complete = [_keep(prepared, row, Progress({}), stated) for row in there]
        announcer = Announcer(prepared.config.registry.listeners, prepared.directory.root)
        announcer.planned(list(prepared.plan.jobs.values()), complete)
        progress = _run_jobs(prepared, executor, announcer, on_change, stated)
        chosen = {**stated, **noisy_choices(prepared)}
        return [_keep(prepared, row, progress, chosen) for row in prepared.plan.rows]


def _run_jobs(
    prepared: Prepared,
    executor: Executor,
    announcer: Announcer,
    on_change: Callable[[Progress, Job | None], None],
    stated: Mapping[str, Choice],
) -> Progress:
    shown_in: dict[ArtifactId, list[Row]] = {}
    for row in prepared.plan.rows:
        for artifact in row.needs:
            shown_in.setdefault(artifact, []).append(row)

    kept: set[int] = set()

    def changed(progress: Progress, job: Job | None) -> None:
        left = job.task.writes() if job else ()
        if job and isinstance(job.task, GeneratorTask):
            note_company(prepared.directory.root, job.task)
        rows = {id(row): row for a in left for row in shown_in.get(a, ())}
        complete = {
            number: row
            for number, row in rows.items()
            if number not in kept and progress.settled(row.needs)
        }
        kept.update(complete)
        results = [_keep(prepared, row, progress, stated) for row in complete.values()]
        announcer.changed(progress, job, results)
        on_change(progress, job)

    prepared.make_room([*prepared.plan.stale, *prepared.plan.writers()])
    with executor:
        return run_jobs(prepared.plan.jobs, executor, changed, prepared.tell)


def _keep(
    prepared: Prepared, row: Row, progress: Progress, chosen: Mapping[str, Choice] = NOTHING
) -> Result:
    secure = prepared.config.file.secure_rng
    earlier = _earlier(prepared, row) if secure else ()
    result = assemble(row, prepared.store, progress, secure=secure, earlier=earlier)
    result = result.model_copy(update={"choice": chosen.get(result.identity_key, Choice())})
    save_result(prepared.directory.root, result)
    return result


def _earlier(prepared: Prepared, row: Row) -> list[Ledger]:
    """Return what was spent on the same images before, and note what was spent now."""
    if row.trial is None or not row.trained:
        return []
    directory, trial = prepared.directory, row.trial.identity.identity_key
    if directory.store.has("generator", row.trained):
        directory.note_release(row.trained, trial)
    return directory.releases(row.trained, trial)

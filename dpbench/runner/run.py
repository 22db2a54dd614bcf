"""From a request to results: fetch data, plan, execute, keep what came out."""

from __future__ import annotations

import contextlib
import datetime
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import psutil
import torch

from dpbench import __version__
from dpbench.api import Dataset, Partition
from dpbench.errors import DpbenchError
from dpbench.executors.base import Executor
from dpbench.executors.local import LocalExecutor
from dpbench.executors.ray import RayExecutor
from dpbench.metrics.classes import collapsed
from dpbench.metrics.evaluators.weights import inception_weights_file
from dpbench.planning.config import Component, Config
from dpbench.planning.plan import Cell, Job, Options, Plan, fingerprint, make_plan
from dpbench.planning.trials import Request, Trial, plan_trials
from dpbench.privacy.accounting import Spent
from dpbench.privacy.ledger import Ledger
from dpbench.privacy.status import privacy_problem
from dpbench.results import CONTROL, Privacy, Result, Run, Status, append_history, save_result
from dpbench.runner.scheduler import Progress, run_jobs
from dpbench.stages import GeneratorTask, save_partition
from dpbench.store import CorruptArtifact, Store, StoreNotWritable

__all__ = ["Prepared", "cache_directory", "choose_device", "execute", "load_dataset", "prepare"]


def cache_directory() -> Path:
    """Where data sets and evaluator weights are kept, for all runs of this user."""
    return Path(platformdirs.user_cache_dir("dpbench"))


def choose_device(asked: str | None) -> str:
    """Return the device to use: the one asked for, else CUDA where there is one.

    Raises:
        DpbenchError: the device is not there.
    """
    if asked is None or asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=asked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DpbenchError(
            f"device {asked!r} cannot be used ({reason}): try --device cpu"
        ) from error
    return asked


def make_dataset(config: Config, component: Component) -> Dataset:
    """Instantiate a configured data set."""
    cls = config.registry.get("dataset", component.plugin).cls
    dataset: Dataset = cls(cls.Params.model_validate(component.params))
    return dataset


def load_dataset(config: Config, component: Component) -> Partition:
    """Load a data set, fetching it where need be, and check that every part is there."""
    try:
        partition = make_dataset(config, component).load(cache_directory())
    except OSError as error:
        raise DpbenchError(f"dataset {component.name!r} cannot be loaded: {error}") from error
    for part in ("labelling", "public", "private", "test"):
        if not len(getattr(partition, part)):
            raise DpbenchError(
                f"dataset {component.name!r} has no {part} images: change its partition rule"
            )
    return partition


@dataclass
class Prepared:
    """A plan with everything needed to carry it out."""

    config: Config
    trials: list[Trial]
    plan: Plan
    store: Store
    runs: Path


def prepare(
    config: Config,
    request: Request,
    runs: Path,
    options: Options,
    notice: Callable[[str], None] = lambda _text: None,
) -> Prepared:
    """Fetch the data and plan the run; writes nothing but the data itself.

    Raises:
        DpbenchError: an unknown name, a bad value, unreachable data, delta >= 1/N,
            Inception weights that are not the released ones.
    """
    trials = plan_trials(config, request)
    if not trials:
        raise DpbenchError("no trial matches: widen --grid, or give epsilon and clip values")
    store = Store(runs / "artifacts")
    _require_writable(runs)
    options = _with_weights(config, trials, options)
    data: dict[str, str] = {}
    for component in {trial.dataset.name: trial.dataset for trial in trials}.values():
        notice(f"data: {component.name}")
        partition = load_dataset(config, component)
        key = fingerprint(partition)
        data[component.name] = key
        if not store.check("data", key):
            save_partition(store, key, partition)
        size = len(partition.private)
        for trial in trials:
            if trial.dataset.name == component.name and trial.delta >= 1 / size:
                raise DpbenchError(
                    f"delta = {trial.delta:g} is not below 1/N = {1 / size:.2g} "
                    f"({size} private images of {component.name}): choose a smaller delta"
                )
    return Prepared(config, trials, make_plan(config, trials, data, store, options), store, runs)


def _with_weights(config: Config, trials: list[Trial], options: Options) -> Options:
    """Find Inception's weights before anything is trained, where a protocol needs them."""
    named = {name for trial in trials for name in trial.protocols}
    needed = any(config.settings.protocols[name].evaluator == "inception" for name in named)
    if not needed and options.inception_weights is None:
        return options
    given = Path(options.inception_weights) if options.inception_weights else None
    path, sha256 = inception_weights_file(given, cache_directory())
    return replace(options, inception_weights=str(path.absolute()), inception_sha256=sha256)


def keep_trained(prepared: Prepared) -> int:
    """Drop from a plan every trial that would need training; return how many."""
    plan = prepared.plan
    missing = {
        lane.key
        for job in plan.jobs.values()
        if isinstance(job.task, GeneratorTask)
        for lane in job.task.lanes
    }
    plan.cells = [
        cell
        for cell in plan.cells
        if cell.trained not in missing
        and not any(plan.jobs[j].task.stage in ("public", "latents") for j in cell.jobs)
    ]
    wanted = {job_id for cell in plan.cells for job_id in cell.jobs}
    needed = {need for job_id in wanted for need in plan.jobs[job_id].needs}
    plan.jobs = {k: job for k, job in plan.jobs.items() if k in wanted | needed}
    return len(missing)


def _require_writable(runs: Path) -> None:
    try:
        (runs / "artifacts").mkdir(parents=True, exist_ok=True)
        probe = runs / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise StoreNotWritable(
            f"the runs directory {runs} cannot be written to ({error.strerror}): "
            "name another with --runs"
        ) from error


def execute(
    prepared: Prepared,
    executor: Executor,
    on_change: Callable[[Progress, Job | None], None] = lambda _p, _j: None,
) -> list[Result]:
    """Carry out a plan; every finished cell is written as a result at once.

    Returns the results of all cells of the plan, in its order.
    """
    plan, runs = prepared.plan, prepared.runs
    by_job: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        for job_id in cell.jobs:
            by_job.setdefault(job_id, []).append(cell)
    empty = Progress({})
    for cell in plan.cells:
        if not cell.jobs:
            save_result(runs, assemble(cell, prepared, empty))

    def changed(progress: Progress, job: Job | None) -> None:
        for cell in by_job.get(job.id, ()) if job else ():
            if all(_ended(job_id, progress) for job_id in cell.jobs):
                save_result(runs, assemble(cell, prepared, progress))
        on_change(progress, job)

    with _only_run(runs), executor:
        _sweep(runs)
        for stage, key in plan.stale:
            prepared.store.remove(stage, key)
        progress = run_jobs(plan.jobs, executor, changed)
    results = [assemble(cell, prepared, progress) for cell in plan.cells]
    for result in results:
        save_result(runs, result)
    return results


def local_executor(
    config: Config, runs: Path, device: str, workers: int | None = None
) -> LocalExecutor:
    """Return worker processes on this machine, with the configured limits."""
    limits = config.settings.limits
    total = psutil.virtual_memory().total / 2**30
    return LocalExecutor(
        runs / "artifacts",
        device,
        workers,
        seconds=limits.seconds,
        memory_gib=limits.memory_gib or 0.8 * total,
    )


def ray_executor(
    config: Config, runs: Path, device: str, workers: int | None = None, address: str | None = None
) -> RayExecutor:
    """Return workers on a Ray cluster, with the configured limits; it chooses the device."""
    limits = config.settings.limits
    return RayExecutor(
        runs / "artifacts", device, workers, limits.seconds, limits.memory_gib, address
    )


@contextlib.contextmanager
def _only_run(runs: Path) -> Iterator[None]:
    """Keep two runs from computing the same artifacts side by side."""
    lock = filelock.FileLock(runs / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise DpbenchError(
            f"another run is using {runs}: wait for it, or name another directory with --runs"
        ) from None
    with lock:
        yield


def _sweep(runs: Path) -> None:
    """Remove what a killed run was writing; nothing under these names is ever read."""
    shutil.rmtree(runs / "artifacts" / "tmp", ignore_errors=True)
    for scratch in (runs / "results").glob(".*.json.*"):
        scratch.unlink(missing_ok=True)


def _ended(job_id: str, progress: Progress) -> bool:
    return job_id in progress.done or job_id in progress.failed or job_id in progress.skipped


def assemble(cell: Cell, prepared: Prepared, progress: Progress) -> Result:
    """Gather a cell's result from the artifacts that are there."""
    store, trial = prepared.store, cell.trial
    fields: dict[str, Any] = {
        "dataset": cell.dataset,
        "settings": cell.settings,
        "public": cell.public,
        "extractor": cell.extractor,
        "method": f"{CONTROL}{cell.control}",
        "artifacts": {**cell.artifacts, **{f"score.{k}": v for k, v in cell.scores.items()}},
    }
    trained: dict[str, Any] = {}
    if trial is not None:
        trained = _meta(store, "generator", cell.trained or "")
        fields |= _trial_fields(trial, trained)
    metrics: dict[str, float] = {}
    unavailable: dict[str, str] = {}
    protocol: dict[str, Any] = {}
    for name, key in cell.scores.items():
        meta = _meta(store, "score", key)
        if not meta:
            continue
        protocol = meta["protocol"]
        metrics |= meta.get("values", {})
        if "unavailable" in meta:
            unavailable[name] = meta["unavailable"]
    status, reason = _status(cell, trained, metrics, progress)
    if status == "ok" and unavailable and not metrics:
        status, reason = (
            "failed",
            f"no figure could be computed: {next(iter(unavailable.values()))}",
        )
    return Result(
        **fields,
        secure=prepared.config.settings.secure_rng,
        status=status,
        reason=reason,
        metrics=metrics if status != "diverged" else {},
        unavailable=unavailable,
        protocol={"name": cell.protocol.name, **protocol},
    )


def _privacy(trained: dict[str, Any]) -> Privacy | None:
    if "ledger" not in trained:
        return None
    return Privacy(
        spent=Spent.model_validate(trained["spent"]),
        ledger=Ledger.model_validate(trained["ledger"]),
    )


def _trial_fields(trial: Trial, trained: dict[str, Any]) -> dict[str, Any]:
    privacy = _privacy(trained)
    spent = privacy.spent.epsilon if privacy else None
    return {
        **dict(trial.identity),
        "grids": trial.grids,
        "epsilon": trial.epsilon if trial.epsilon is not None else spent,
        "epsilon_spent": spent,
        "privacy": privacy,
        "seconds": {"generator": trained["seconds"]} if "seconds" in trained else {},
    }


def _status(
    cell: Cell, trained: dict[str, Any], metrics: dict[str, float], progress: Progress
) -> tuple[Status, str | None]:
    if trained.get("diverged"):
        return "diverged", "training reached NaN or infinity: lower the learning rate"
    for name in (cell.trained or "", *cell.jobs):
        if name in progress.failed:
            return "failed", progress.failed[name]
    if cell.trial is not None:
        if not trained:
            upstream = next((progress.skipped[j] for j in cell.jobs if j in progress.skipped), None)
            return "skipped", _upstream(upstream, progress)
        problem = privacy_problem(trained["ledger"], trained["spent"], cell.trial.epsilon)
        if problem:
            return "over-budget", problem
    for job_id in cell.jobs:
        if job_id in progress.skipped:
            return "skipped", _upstream(progress.skipped[job_id], progress)
    if cell.trial is not None and collapsed(metrics.get("min_class_share", 1.0)):
        return "collapsed", "a private class holds less than 1% of the samples"
    return "ok", None


def _upstream(job_id: str | None, progress: Progress) -> str:
    if job_id is None:
        return "something it needs was not computed"
    title = progress.jobs[job_id].title if job_id in progress.jobs else job_id
    return f"{title} failed: {progress.failed.get(job_id, 'unknown')}"


def _meta(store: Store, stage: str, key: str) -> dict[str, Any]:
    if not key or not store.has(stage, key):
        return {}
    try:
        return store.load(stage, key).meta
    except CorruptArtifact:
        return {}


def record_run(runs: Path, command: str, seconds: float, computed: int) -> None:
    """Append to ``history.json`` what made the results: command, versions, machine, time.

    ``computed`` is the number of jobs; a run that found everything cached made nothing.
    """
    if not computed:
        return
    finished = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    run = Run(
        command=command,
        versions=versions(),
        wall_seconds=round(seconds, 1),
        finished=finished,
        jobs=computed,
    )
    append_history(runs, run)


def versions() -> dict[str, str]:
    """Name what produced a table: this package, its main dependencies, the machine."""
    return {
        "dpbench": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {psutil.cpu_count()} cores",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }

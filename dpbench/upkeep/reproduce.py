"""Whether a trial comes out the same, to the last bit, when it is run again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dpbench.api import Executor
from dpbench.errors import DpbenchError
from dpbench.planning.again import request_again
from dpbench.planning.config import Config
from dpbench.planning.plan import Options, Plan
from dpbench.results import Result, load_results
from dpbench.results.history import read_history
from dpbench.runner.companies import company_of
from dpbench.runner.directory import RunDirectory, versions
from dpbench.runner.execute import execute
from dpbench.runner.prepare import Prepared, prepare
from dpbench.stages import GeneratorTask
from dpbench.store import Artifact, ArtifactId, CorruptArtifact, Store

__all__ = ["Difference", "elsewhere", "reproduce"]

MakeExecutor = Callable[[Config, RunDirectory], Executor]
#: What a trial is made again from, unless all of it is.
GIVEN = ("public", "latents", "evaluator", "references")


@dataclass(frozen=True)
class Difference:
    """Where what came out differs from what was kept."""

    where: str
    what: str


def reproduce(
    config: Config,
    chosen: Result,
    directory: RunDirectory,
    make_executor: MakeExecutor,
    *,
    whole: bool = False,
    notice: Callable[[str], None] = lambda _text: None,
) -> list[Difference]:
    """Run a trial again in a directory of its own and compare it to the last bit.

    Args:
        whole: make public model, latents and evaluator again, too.

    Returns:
        What differs; nothing if the trial was reproduced.

    Raises:
        DpbenchError: a release cannot be repeated; the configuration has no such
            trial, or its code has changed since.
    """
    if chosen.secure:
        raise DpbenchError("a release was drawn from a secret source: it cannot be repeated")
    with tempfile.TemporaryDirectory(prefix="dpbench-reproduce-") as folder:
        again = RunDirectory(Path(folder))
        if not whole:
            _bring(directory.store, again.store)
        company = company_of(directory.root, chosen.artifacts.get("generator", ""))
        rows = _rows_of(company, chosen, directory.root)
        prepared = prepare(config, request_again(config, rows), again, Options(controls=False))
        _require_same(prepared, chosen)
        _narrow(prepared.plan, chosen, company)
        notice(f"{len(prepared.plan.jobs)} jobs{_said(len(company), len(rows))}")
        results = execute(prepared, make_executor(config, again))
        made = next((r for r in results if r.identity_key == chosen.identity_key), None)
        assert made is not None  # the plan has it
        return [*_rows(chosen, made), *_artifacts(chosen, directory.store, again.store)]


def elsewhere(root: Path) -> str | None:
    """Say so if nothing under ``root`` was made by such a machine, device and torch as these."""
    here = _place(versions())
    made = [_place(run.versions) for run in read_history(root)[0]]
    if not made or here in made:
        return None
    return f"made on {made[-1]}, run again on {here}: only the same is sure to give equal bits"


def _place(made_with: Mapping[str, str]) -> str:
    """Name what decides the last digits."""
    machine, device, torch = (made_with.get(n, "unknown") for n in ("machine", "device", "torch"))
    return f"{machine}, {device}, torch {torch}"


def _rows_of(company: Sequence[str], chosen: Result, root: Path) -> list[Result]:
    """Return a row of each generator that trained with the chosen one, which is first.

    Lanes of a task share the width of their batches, so that alone each would round otherwise.
    """
    rows = {chosen.artifacts.get("generator", ""): chosen}
    for row in load_results(root) if len(company) > 1 else ():
        if row.artifacts.get("generator") in company and row.dataset == chosen.dataset:
            rows.setdefault(row.artifacts["generator"], row)
    return list(rows.values())


def _narrow(plan: Plan, chosen: Result, company: Sequence[str]) -> None:
    """Leave what the row of ``chosen`` needs: trials beside it are trained, and not scored.

    They train in the order in which they did: where a lane lies in memory decides how it is
    summed up.
    """
    own = chosen.identity_key
    plan.rows = [r for r in plan.rows if r.trial and r.trial.identity.identity_key == own]
    plan.jobs = plan.towards(artifact for row in plan.rows for artifact in row.needs)
    for name, job in plan.jobs.items():
        if company and isinstance(job.task, GeneratorTask):
            lanes = sorted(job.task.lanes, key=lambda lane: company.index(lane.key))
            plan.jobs[name] = replace(job, task=replace(job.task, lanes=tuple(lanes)))


def _said(company: int, rows: int) -> str:
    """Tell with how many trials it trains again, of as many as it trained with."""
    if not company:
        return "; with which trials it trained is not known here, so last digits may differ"
    text = f"; trained again as well: {rows - 1} that it trained with" if rows > 1 else ""
    if gone := company - rows:
        text += f"; {gone} that it trained with are in no row now, so last digits may differ"
    return text


def _require_same(prepared: Prepared, chosen: Result) -> None:
    """Refuse to compare what other code, data or hyperparameters make."""
    shown = ("generator", "features")
    rows = [row.artifacts for row in prepared.plan.rows if row.trial is not None]
    planned = [[artifacts.get(stage) for stage in shown] for artifacts in rows]
    if [chosen.artifacts.get(stage) for stage in shown] not in planned:
        raise DpbenchError(
            f"{chosen.method} is another trial by now: its code, data or configuration has changed "
            "since it was run; install the version that made it, or name its --config"
        )


def _bring(source: Store, target: Store) -> None:
    for stage in GIVEN:
        if (source.root / stage).is_dir():
            shutil.copytree(source.root / stage, target.root / stage)


def _rows(before: Result, after: Result) -> Iterator[Difference]:
    if before.status != after.status:
        yield Difference("status", f"{before.status} was, {after.status} is ({after.reason})")
    # What was asked for after the run (`dpbench score`) is not computed again.
    planned = after.metrics.keys() | after.unavailable.keys()
    for name, reason in after.unavailable.items():
        if name not in before.unavailable:
            yield Difference(name, f"could not be computed: {reason}")
    if before.metrics and not before.metrics.keys() & planned:
        yield Difference("figures", "none of them was computed again")
    for name in sorted(before.metrics.keys() & after.metrics.keys()):
        if before.metrics[name] != after.metrics[name]:
            yield Difference(name, f"{before.metrics[name]!r} was, {after.metrics[name]!r} is")


def _artifacts(chosen: Result, before: Store, after: Store) -> Iterator[Difference]:
    for stage in ("public", "latents", "generator", "features"):
        artifact = ArtifactId(stage, chosen.artifacts.get(stage, ""))
        if not artifact.key:
            continue
        kept, made = _load(before, artifact), _load(after, artifact)
        if kept is None or made is None:
            where = "in the runs directory" if kept is None else "this time"
            yield Difference(stage, f"is not there {where}, so it cannot be compared")
            continue
        for name in sorted(kept.tensors.keys() | made.tensors.keys()):
            a, b = kept.tensors.get(name), made.tensors.get(name)
            if a is None or b is None or not torch.equal(a, b):
                yield Difference(f"{stage} {name}", _gap(a, b))


def _load(store: Store, artifact: ArtifactId) -> Artifact | None:
    try:
        return store.load(*artifact)
    except CorruptArtifact:
        return None


def _gap(a: torch.Tensor | None, b: torch.Tensor | None) -> str:
    if a is None or b is None or a.shape != b.shape:
        return "is there once, or has another shape"
    return f"differs by at most {(a.double() - b.double()).abs().max().item():.3g}"

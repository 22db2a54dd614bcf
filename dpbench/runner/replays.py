"""Replay the methods of a plan, trained or not, and keep the verdicts beside their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from dpbench.planning.plan import Row
from dpbench.privacy.replay import ReplayVerdict
from dpbench.results import save_audit
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress
from dpbench.runner.upstream import compute
from dpbench.runner.withheld import told_verdict
from dpbench.store import ArtifactId

__all__ = ["Replayed", "replay_methods"]


class Replayed(NamedTuple):
    """A method, how many trials of it one replay speaks for, the verdict, and its seconds."""

    method: str
    trials: int
    verdict: ReplayVerdict
    seconds: float | None


def replay_methods(
    prepared: Prepared, device: str, notice: Callable[[str], None] = lambda _text: None
) -> list[Replayed]:
    """Replay every company of private trials in a plan made with ``Options(replay_all=True)``.

    A replay that was made before is not made again.

    Raises:
        DirectoryInUse: a run is using the directory.
    """
    shown: dict[str, list[Row]] = {}
    for row in prepared.plan.rows:
        if row.replay is not None:
            shown.setdefault(row.replay, []).append(row)
    with prepared.directory.lock():
        wanted = [ArtifactId("replay", key) for key in shown]
        progress = compute(prepared, wanted, device, notice, may_fail=True)
        return [_keep(prepared, key, rows, progress) for key, rows in shown.items()]


def _keep(prepared: Prepared, key: str, rows: list[Row], progress: Progress) -> Replayed:
    loss, seconds = progress.lost.get(ArtifactId("replay", key)), None
    if loss is not None:
        verdict = ReplayVerdict(verdict="not-replayed", reason=loss.reason)
    else:
        meta = prepared.store.meta("replay", key)
        verdict, seconds = ReplayVerdict.model_validate(meta["verdict"]), float(meta["seconds"])
        verdict = told_verdict(verdict, prepared.config.file.secure_rng)
    trials = {row.trained: row.trial for row in rows if row.trial is not None}
    for trial in trials.values():
        save_audit(prepared.directory.root, trial.identity, verdict)
    method = next(iter(trials.values())).method.name
    return Replayed(method, len(trials), verdict, seconds)

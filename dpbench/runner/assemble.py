"""From the artifacts that a row needs to the result it shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dpbench.metrics.classes import collapsed
from dpbench.planning.plan import Row
from dpbench.planning.trials import Trial
from dpbench.privacy.accounting import Spent, compose
from dpbench.privacy.ledger import Ledger, joined
from dpbench.privacy.replay import ReplayVerdict
from dpbench.privacy.status import privacy_problem
from dpbench.results import CONTROL, Privacy, Result, Status
from dpbench.runner.scheduler import Progress
from dpbench.runner.withheld import WITHHELD, told_verdict
from dpbench.store import ArtifactId, CorruptArtifact, Store

__all__ = ["assemble"]


MIXED = (
    "its figures are by different weights of the evaluator, which was made again and came out "
    "otherwise: run the same command again"
)


def assemble(
    row: Row,
    store: Store,
    progress: Progress,
    *,
    secure: bool = False,
    earlier: Sequence[Ledger] = (),
) -> Result:
    """Gather a row's result from the artifacts that are there.

    ``secure`` says that the run draws from the secret source: its rows are a release.
    ``earlier`` are the ledgers of releases that the generator was made anew after: the
    row accounts for all of them.
    """
    trial = row.trial
    fields: dict[str, Any] = {
        "dataset": row.dataset,
        "settings": row.settings,
        "labels": row.labels,
        "public": row.public,
        "extractor": row.extractor,
        "method": f"{CONTROL}{row.control}",
        "sharpness": _meta(store, "features", row.artifacts["features"]).get("sharpness"),
        "artifacts": {**row.artifacts, **{f"score.{k}": v for k, v in row.scores.items()}},
    }
    trained: dict[str, Any] = {}
    if trial is not None:
        trained = _with_earlier(_meta(store, "generator", row.trained or ""), earlier)
        fields |= _trial_fields(trial, trained, _replay(row, store, progress, secure))
    metrics: dict[str, float] = {}
    unavailable: dict[str, str] = {}
    protocol: dict[str, Any] = {}
    weights: set[str] = set()
    for name, key in row.scores.items():
        meta = _meta(store, "score", key)
        if not meta:
            loss = progress.lost.get(ArtifactId("score", key))
            unavailable |= {name: loss.reason} if loss else {}
            continue
        protocol = meta["protocol"]
        weights.add(protocol["weights_sha256"])
        metrics |= meta.get("values", {})
        if "unavailable" in meta:
            unavailable[name] = meta["unavailable"]
    if secure:
        unavailable = dict.fromkeys(unavailable, WITHHELD)
    status, reason = _status(row, trained, metrics, progress)
    if len(weights) > 1:
        status, reason, metrics = "failed", MIXED, {}
    if status == "ok" and unavailable and not metrics:
        first = next(iter(unavailable.values()))
        status, reason = "failed", f"no figure could be computed: {first}"
    return Result(
        **fields,
        secure=secure,
        status=status,
        reason=reason,
        metrics=metrics if status != "diverged" else {},
        unavailable=unavailable,
        protocol={"name": row.protocol.name, **protocol},
    )


def _replay(row: Row, store: Store, progress: Progress, secure: bool) -> ReplayVerdict | None:
    """Return the verdict on the company that a row's trial trains in."""
    if row.replay is None:
        return None
    loss = progress.lost.get(ArtifactId("replay", row.replay))
    if loss is not None:
        return ReplayVerdict(verdict="not-replayed", reason=loss.reason)
    meta = _meta(store, "replay", row.replay)
    if not meta:
        return None
    return told_verdict(ReplayVerdict.model_validate(meta["verdict"]), secure)


def _with_earlier(trained: dict[str, Any], earlier: Sequence[Ledger]) -> dict[str, Any]:
    """Add to what a generator spent what the same images were released with before."""
    if not earlier or "ledger" not in trained:
        return trained
    ledger = joined([*earlier, Ledger.model_validate(trained["ledger"])])
    spent = compose(ledger.mechanisms, trained["spent"]["delta"])
    both = {"ledger": ledger.model_dump(mode="json"), "spent": spent.model_dump(mode="json")}
    return {**trained, **both, "releases": 1 + len(earlier)}


def _privacy(trained: dict[str, Any], replay: ReplayVerdict | None) -> Privacy | None:
    if "ledger" not in trained:
        return None
    return Privacy(
        spent=Spent.model_validate(trained["spent"]),
        ledger=Ledger.model_validate(trained["ledger"]),
        replay=replay,
    )


def _trial_fields(
    trial: Trial, trained: dict[str, Any], replay: ReplayVerdict | None
) -> dict[str, Any]:
    privacy = _privacy(trained, replay)
    spent = privacy.spent.epsilon if privacy else None
    return {
        **dict(trial.identity),
        "grids": trial.grids,
        "selectors": trial.selectors,
        "epsilon": trial.epsilon if trial.epsilon is not None else spent,
        "epsilon_spent": spent,
        "privacy": privacy,
        "seconds": {"generator": trained["seconds"]} if "seconds" in trained else {},
    }


def _status(
    row: Row, trained: dict[str, Any], metrics: dict[str, float], progress: Progress
) -> tuple[Status, str | None]:
    if trained.get("diverged"):
        return "diverged", "training reached NaN or infinity: lower the learning rate"
    needs = [artifact for artifact in row.needs if artifact.stage != "replay"]
    losses = [progress.lost[artifact] for artifact in needs if artifact in progress.lost]
    if metrics:  # then a score that ended its process costs its own figures
        losses = [loss for loss in losses if loss.origin.stage != "score"]
    for loss in losses:
        if loss.origin in needs:
            return "failed", loss.reason
    if losses:
        return "skipped", f"{losses[0].title} failed: {losses[0].reason}"
    if row.trial is not None:
        if not trained:
            return "skipped", "something it needs was not computed"
        problem = privacy_problem(trained["ledger"], trained["spent"], row.trial.epsilon)
        if problem:
            times = trained.get("releases", 1)
            return "over-budget", problem + (f", in {times} releases" if times > 1 else "")
        if collapsed(metrics.get("min_class_share", 1.0)):
            return "collapsed", "a private class holds less than 1% of the samples"
    return "ok", None


def _meta(store: Store, stage: str, key: str) -> dict[str, Any]:
    if not key or not store.has(stage, key):
        return {}
    try:
        return store.meta(stage, key)
    except CorruptArtifact:
        return {}

"""Audit a method of a grid, and keep what was found beside its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dpbench import plugins
from dpbench.api import derive_seed
from dpbench.errors import DpbenchError
from dpbench.privacy.audit import AuditKind, AuditResult, run_audit
from dpbench.results import save_audit
from dpbench.runner.executors import make_executor
from dpbench.runner.prepare import Prepared
from dpbench.runner.scheduler import Progress, run_jobs
from dpbench.store import ArtifactId

__all__ = ["AuditOptions", "audit"]


@dataclass(frozen=True)
class AuditOptions:
    """How hard to try; see :func:`dpbench.privacy.audit.run_audit`."""

    kind: AuditKind = "many-run"
    trainings: int = 400
    canaries: int = 200
    records: int = 500
    seed: int = 0


def audit(
    prepared: Prepared,
    device: str,
    options: AuditOptions,
    notice: Callable[[str], None] = lambda _text: None,
) -> list[tuple[str, AuditResult]]:
    """Audit each distinct (method, epsilon, clip) of a plan; return (title, result) pairs.

    Public models and latents that are missing are computed first; the trials
    themselves need not be trained.
    """
    upstream = prepared.plan.towards(
        ArtifactId("latents", cell.artifacts["latents"])
        for cell in prepared.plan.cells
        if cell.trial is not None
    )
    if upstream:
        with make_executor(prepared.config, prepared.directory, device=device) as executor:
            progress = run_jobs(upstream, executor, lambda p, job: _say(p, job, notice))
        if progress.failed:
            raise DpbenchError(next(iter(progress.failed.values())))
    found: dict[str, tuple[str, AuditResult]] = {}
    for cell in prepared.plan.cells:
        trial = cell.trial
        if trial is None:
            continue
        if (key := trial.identity.candidate.identity_key) in found:
            continue
        title = f"{trial.method.name} at " + (
            f"epsilon {trial.epsilon:g}" if trial.epsilon else f"sigma {trial.noise_multiplier}"
        )
        notice(f"auditing {title}, clip {trial.clip:g}")
        latents = prepared.store.load("latents", cell.artifacts["latents"]).tensors
        component = trial.method.generator
        cls = plugins.registry().get("generator", component.plugin).cls
        result = run_audit(
            cls,
            cls.Params.model_validate(component.params),
            latents["public"],
            latents["private"],
            epsilon=trial.epsilon or float("inf"),
            noise_multiplier=trial.noise_multiplier,
            delta=trial.delta,
            clip=trial.clip,
            kind=options.kind,
            runs=options.trainings,
            canaries=options.canaries,
            records=options.records,
            seed=derive_seed("audit", options.seed),
            device=device,
        )
        save_audit(prepared.directory.root, trial.identity, result)
        found[key] = (title, result)
    return list(found.values())


def _say(progress: Progress, job: Any, notice: Callable[[str], None]) -> None:
    if job is not None:
        notice(f"{job.title}: {progress.failed.get(job.id, 'done')}")

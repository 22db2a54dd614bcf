"""Audit the trials of a plan, and keep what was found beside their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dpbench import plugins
from dpbench.api import derive_seed
from dpbench.leaderboard.words import count_text
from dpbench.planning.lanes import Candidate, groups
from dpbench.planning.plan import Plan
from dpbench.planning.trials import Trial
from dpbench.privacy.audit import AuditResult, Effort, Subject, run_audits
from dpbench.privacy.by_class import class_indices
from dpbench.privacy.handle import Budget
from dpbench.results import save_audit
from dpbench.runner.prepare import Prepared
from dpbench.runner.upstream import compute
from dpbench.store import ArtifactId

__all__ = ["audit", "companies"]

Notice = Callable[[str], None]


def audit(
    prepared: Prepared,
    device: str,
    effort: Effort,
    seed: int = 0,
    notice: Notice = lambda _text: None,
) -> list[tuple[str, AuditResult]]:
    """Audit each distinct trial of a plan but for its seed; return (title, result) pairs.

    Public models and latents that are missing are computed first; the trials
    themselves need not be trained. Nobody else writes to the directory meanwhile.

    Raises:
        DirectoryInUse: a run is using the directory.
    """
    found: dict[str, tuple[str, AuditResult]] = {}
    with prepared.directory.lock():
        compute(prepared, _latents(prepared.plan), device, notice)
        for head, company in companies(prepared.plan):
            trials = count_text(len(company), "trial")
            named = f"{company[0].method.name}: {trials} that train together"
            notice(f"auditing {named}")
            results = _attack(prepared, head, company, device, effort, seed)
            for trial, result in zip(company, results, strict=True):
                key = trial.identity.candidate.identity_key
                if key not in found:
                    save_audit(prepared.directory.root, trial.identity, result)
                    found[key] = (_title(trial), result)
    return list(found.values())


def companies(plan: Plan) -> Iterator[tuple[Candidate, list[Trial]]]:
    """Yield the trials of a plan as a run trains them, each group after its first candidate."""
    # Trials under several names, or under several protocols, may share one generator.
    trials: dict[str, dict[str, Trial]] = {}
    for row in plan.rows:
        if row.trial and row.trained:
            trials.setdefault(row.trained, {})[row.trial.identity.identity_key] = row.trial
    for group in groups(plan.candidates[key] for key in trials):
        yield group[0], [t for lane in group for t in trials[lane.lane.key].values()]


def _budget(trial: Trial) -> Budget:
    epsilon = float("inf") if trial.epsilon is None else trial.epsilon
    return Budget(epsilon, trial.delta, trial.noise_multiplier)


def _attack(
    prepared: Prepared,
    head: Candidate,
    company: list[Trial],
    device: str,
    effort: Effort,
    seed: int,
) -> list[AuditResult]:
    latents = prepared.store.load("latents", head.latents).tensors
    labels = class_indices(latents["labels"], head.classes) if head.classes else None
    cls = plugins.registry().get("generator", company[0].method.generator.plugin).cls
    subjects = [
        Subject(
            cls.Params.model_validate(trial.method.generator.params), _budget(trial), trial.clip
        )
        for trial in company
    ]
    return run_audits(
        cls,
        subjects,
        latents["public"],
        latents["private"],
        effort,
        labels=labels,
        classes=max(1, len(head.classes)),
        seed=derive_seed("audit", seed),
        device=device,
    )


def _title(trial: Trial) -> str:
    target = f"epsilon {trial.epsilon:g}" if trial.epsilon else f"sigma {trial.noise_multiplier:g}"
    labelled = "" if trial.labels == "none" else ", private labels"
    return f"{trial.method.name} at {target}, clip {trial.clip:g}{labelled}"


def _latents(plan: Plan) -> Iterator[ArtifactId]:
    trials = (row for row in plan.rows if row.trial is not None)
    return (ArtifactId("latents", row.artifacts["latents"]) for row in trials)

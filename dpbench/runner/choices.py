"""Which trial of a method and target is chosen: by a stated rule, or by a noisy count."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch

from dpbench.api import Context, derive_seed
from dpbench.planning.config import Config
from dpbench.planning.plan import Row
from dpbench.planning.trials import Trial
from dpbench.privacy.accounting import compose
from dpbench.privacy.by_class import draw
from dpbench.privacy.handle import Budget
from dpbench.privacy.ledger import Ledger, Mechanism
from dpbench.privacy.selection import choose_noisily, noise_of_choice, selection_epsilon
from dpbench.privacy.session import PrivateSession
from dpbench.results import Choice, TrialIdentity, load_results
from dpbench.runner.prepare import Prepared
from dpbench.stages.trained import restore_generator
from dpbench.store import Artifact, Store, content_key

__all__ = ["noisy_choices", "stated_choices", "stated_late"]

_STAGE = "choice"
_STATED = ("first", "named")
#: Latents drawn from each candidate for private latents to be nearest to.
_SAMPLES = 1000


def stated_choices(prepared: Prepared) -> dict[str, Choice]:
    """Return which trials of a plan a stated rule picks, by the trial's key.

    To be asked for before a run. Trials of :func:`stated_late` are left out.
    """
    rule = prepared.config.file.select
    if rule in ("scores", "noisy"):
        return {}
    name: Literal["first", "named"] = "first" if rule == "first" else "named"
    late = stated_late(prepared)
    return {
        trial.identity_key: Choice(rule=name, chosen=_is_stated(prepared.config, planned))
        for trial, planned in _planned(prepared)
        if trial.cell.identity_key not in late
    }


def stated_late(prepared: Prepared) -> set[str]:
    """Return the cells, by key, of which scores were seen before the rule was stated.

    Seen are the rows of the directory that have a figure. The rule was stated before
    them if they carry a stated rule that picked what is picked now; otherwise
    whoever stated it may have chosen by what they saw.
    """
    if prepared.config.file.select in ("scores", "noisy"):
        return set()
    planned = [(trial, _is_stated(prepared.config, by)) for trial, by in _planned(prepared)]
    picked = {trial.candidate.identity_key for trial, chosen in planned if chosen}
    decided = {trial.cell.identity_key for trial, chosen in planned if chosen}
    asked = {trial.identity_key for trial, _ in planned}
    late = set()
    for row in load_results(prepared.directory.root):
        cell = row.cell.identity_key
        moved = row.choice.chosen != (row.candidate.identity_key in picked)
        concerned = row.identity_key in asked or cell in decided
        if row.metrics and (row.choice.rule not in _STATED or (moved and concerned)):
            late.add(cell)
    return late & {trial.cell.identity_key for trial, _ in planned}


def _planned(prepared: Prepared) -> list[tuple[TrialIdentity, Trial]]:
    trials = (row.trial for row in prepared.plan.rows if row.trial is not None)
    return [(trial.identity, trial) for trial in trials]


def noisy_choices(prepared: Prepared) -> dict[str, Choice]:
    """Return which trials of a plan a noisy count picks, if it is to, by the trial's key.

    It needs the trained generators; where they are missing no choice is made. Once
    made it is kept, for another would be another release.
    """
    if prepared.config.file.select != "noisy":
        return {}
    rows = {c.trial.identity.identity_key: c for c in prepared.plan.rows if c.trial}
    return _noisy(prepared, rows)


def _is_stated(config: Config, trial: Trial) -> bool:
    """Whether the rule of the configuration names this trial, whatever its scores."""
    grid = config.file.grids[trial.grids[0]]
    clip = grid.clip[0] if config.file.select == "first" else config.file.select
    first = {axis: values[0] for axis, values in grid.axes.items()}
    return trial.clip == clip and all(
        value == first.get(axis, value) for axis, value in trial.identity.axes.items()
    )


def _noisy(prepared: Prepared, rows: dict[str, Row]) -> dict[str, Choice]:
    groups: dict[str, dict[str, Row]] = {}
    for key, row in rows.items():
        assert row.trial is not None
        groups.setdefault(row.trial.identity.cell.identity_key, {})[key] = row
    found: dict[str, Choice] = {}
    for name, members in groups.items():
        found |= _choose(prepared, name, members)
    return found


def _choose(prepared: Prepared, name: str, members: dict[str, Row]) -> dict[str, Choice]:
    """Choose among the members of one group that were trained; a candidate has all its seeds."""
    store = prepared.store
    trained = {
        key: ledger
        for key, row in members.items()
        if (ledger := _ledger(prepared, row)) is not None
    }
    candidates: dict[str, list[str]] = {}
    for key in trained:
        trial = members[key].trial
        assert trial is not None
        candidates.setdefault(trial.identity.candidate.identity_key, []).append(key)
    seeds = min((len(keys) for keys in candidates.values()), default=0)
    if len(candidates) < 2 or any(len(keys) != seeds for keys in candidates.values()):
        return {}
    first = members[next(iter(trained))].trial
    assert first is not None
    spent = compose(next(iter(trained.values())), first.delta).epsilon
    if not math.isfinite(spent):
        return {}
    noise = noise_of_choice(spent, first.delta)
    stored = content_key([name, [members[key].trained for key in trained], noise, _SAMPLES])
    if not store.has(_STAGE, stored):
        picked = _vote(
            prepared, name, [[members[k] for k in c] for c in candidates.values()], noise
        )
        store.save(_STAGE, stored, Artifact({"picked": picked, "noise_multiplier": noise}, {}))
    winner = list(candidates)[store.load(_STAGE, stored).meta["picked"]]
    paid = selection_epsilon(trained.values(), noise, first.delta)
    return {
        key: Choice(rule="noisy", chosen=key in candidates[winner], epsilon=paid) for key in trained
    }


def _ledger(prepared: Prepared, row: Row) -> list[Mechanism] | None:
    store = prepared.store
    if not row.trained or not store.has("generator", row.trained):
        return None
    meta = store.load("generator", row.trained).meta
    if meta["diverged"]:
        return None
    ledgers = [*prepared.directory.releases(row.trained), Ledger.model_validate(meta["ledger"])]
    return [mechanism for ledger in ledgers for mechanism in ledger.mechanisms]


def _vote(
    prepared: Prepared, name: str, candidates: list[list[Row]], noise_multiplier: float
) -> int:
    row = candidates[0][0]
    assert row.trial is not None
    latents = prepared.store.load("latents", row.artifacts["latents"]).tensors["private"]
    samples = [
        torch.cat(list(_samples(prepared.store, name, rows, latents.shape[1])))
        for rows in candidates
    ]
    session = PrivateSession(
        latents,
        Budget(math.inf, row.trial.delta, noise_multiplier),
        1.0,
        Context(derive_seed("choice", name)),
        noise_seed=derive_seed("choice-noise", name, row.trial.seed),
        secure_rng=prepared.config.file.secure_rng,
    )
    return choose_noisily(session.handle, samples, noise_multiplier)


def _samples(store: Store, name: str, rows: list[Row], dim: int) -> Iterable[torch.Tensor]:
    for number, row in enumerate(rows):
        assert row.trial is not None and row.trained is not None
        classes = max(1, len(row.classes))
        component = row.trial.method.generator
        generator = restore_generator(store, row.trained, component, dim, classes)
        rng = torch.Generator().manual_seed(derive_seed("choice-samples", name, number))
        yield draw(generator, _SAMPLES // len(rows), rng, classes)[0]

"""Which trial of a method and target is chosen: by a stated rule, or by a noisy count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

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
from dpbench.results import Choice, Result, TrialIdentity, by_cell, load_results
from dpbench.runner.prepare import Prepared
from dpbench.stages.trained import restore_generator
from dpbench.store import Artifact, Store, content_key

__all__ = ["noisy_choices", "said_late", "stated_choices"]

_STAGE = "choice"
_STATED = ("first", "named")
#: Latents drawn from each candidate for private latents to be nearest to.
_SAMPLES = 1000


def stated_choices(prepared: Prepared) -> dict[str, Choice]:
    """Return what a rule that was stated says of the trials of a plan, by the trial's key.

    To be asked for before a run. Trials of :func:`said_late` are left out. Of trials that a
    noisy count is to choose among it says only that.
    """
    rule = prepared.config.file.select
    if rule == "scores":
        return {}
    name: Literal["first", "named", "noisy"] = rule if isinstance(rule, str) else "named"
    late = said_late(prepared)
    return {
        trial.identity_key: Choice(rule=name, chosen=chosen)
        for trial, chosen in _planned(prepared)
        if trial.cell_key not in late
    }


def said_late(prepared: Prepared) -> set[str]:
    """Return the cells, by key, of which scores were seen before the rule was stated.

    Seen are the rows of the directory that have a figure. The rule was stated before
    them if they carry it, and it picked what is picked now; otherwise
    whoever stated it may have chosen by what they saw.
    """
    rule = prepared.config.file.select
    if rule == "scores":
        return set()
    rules = ("noisy",) if rule == "noisy" else _STATED
    planned = _planned(prepared)
    picked = {trial.candidate_key for trial, chosen in planned if chosen}
    decided = {trial.cell_key for trial, chosen in planned if chosen}
    asked = {trial.identity_key for trial, _ in planned}
    late = set()
    for row in load_results(prepared.directory.root):
        cell = row.cell_key
        moved = row.choice.chosen != (row.candidate_key in picked) and rule != "noisy"
        concerned = row.identity_key in asked or cell in decided
        if row.metrics and (row.choice.rule not in rules or (moved and concerned)):
            late.add(cell)
    return late & {trial.cell_key for trial, _ in planned}


def _planned(prepared: Prepared) -> list[tuple[TrialIdentity, bool]]:
    """Return the trials of a plan, and whether a stated rule names each, whatever its scores."""
    trials = [row.trial for row in prepared.plan.rows if row.trial is not None]
    clips: dict[str, list[float]] = {}
    for trial in trials:
        clips.setdefault(trial.identity.cell_key, []).append(trial.clip)
    return [
        (trial.identity, _is_stated(prepared.config, trial, clips[trial.identity.cell_key]))
        for trial in trials
    ]


def _is_stated(config: Config, trial: Trial, planned: Sequence[float]) -> bool:
    """Whether the rule names a trial; the first clip is the grid's, else of those ``planned``."""
    rule, grid = config.file.select, config.file.grids[trial.grids[0]]
    if rule in ("scores", "noisy"):
        return False
    own = not set(planned).isdisjoint(grid.clip)
    clip = (grid.clip if own else planned)[0] if rule == "first" else rule
    first = {axis: values[0] for axis, values in grid.axes.items()}
    return trial.clip == clip and all(
        value == first.get(axis, value) for axis, value in trial.identity.axes.items()
    )


def noisy_choices(prepared: Prepared) -> dict[str, Choice]:
    """Return which trials of a plan a noisy count picks, if it is to, by the trial's key.

    It needs the trained generators; where they are missing, or exact scores were seen before, no
    choice is made. Once made it is kept, for another would be another release; where one has to
    be made after all, since there are trials that were in none, all that were made add up.
    """
    if prepared.config.file.select != "noisy":
        return {}
    late = said_late(prepared)
    cells: dict[str, dict[str, Row]] = {}
    for row in prepared.plan.rows:
        if row.trial is not None and row.trial.identity.cell_key not in late:
            identity = row.trial.identity
            cells.setdefault(identity.cell_key, {})[identity.identity_key] = row
    known = by_cell(load_results(prepared.directory.root)) if cells else {}
    found: dict[str, Choice] = {}
    for name, members in cells.items():
        found |= _choose(prepared, name, members, known.get(name, []))
    return found


def _choose(
    prepared: Prepared, name: str, members: dict[str, Row], known: Sequence[Result]
) -> dict[str, Choice]:
    """Choose among the members of one cell that were trained; a candidate has all its seeds.

    ``known`` are the trials of the cell in the directory: what they spent was spent on the same
    images, so it is in the sum whether they are members or not.
    """
    trained = {
        key: ledger
        for key, row in members.items()
        if (ledger := _ledger(prepared, row)) is not None
    }
    candidates = _candidates(members, trained)
    seeds = {len(rows) for rows in candidates}
    if len(candidates) < 2 or len(seeds) > 1 or len({_latents(rows) for rows in candidates}) > 1:
        return {}
    trial = candidates[0][0].trial
    assert trial is not None
    spent = compose(next(iter(trained.values())), trial.delta).epsilon
    if not math.isfinite(spent):
        return {}
    picked = _picked(prepared, name, candidates, noise_of_choice(spent, trial.delta))
    beside = {
        row.identity_key: row.privacy.ledger.mechanisms
        for row in known
        if row.privacy is not None and row.identity_key not in trained
    }
    noises = [count["noise_multiplier"] for count in _counts(prepared.store, name)]
    paid = selection_epsilon([*trained.values(), *beside.values()], noises, trial.delta)
    among = tuple(sorted((*trained, *beside)))
    return {
        key: Choice(rule="noisy", chosen=members[key].trained in picked, epsilon=paid, among=among)
        for key in trained
    }


def _candidates(members: dict[str, Row], trained: Iterable[str]) -> list[list[Row]]:
    found: dict[str, list[Row]] = {}
    for key in trained:
        trial = members[key].trial
        assert trial is not None
        found.setdefault(trial.identity.candidate_key, []).append(members[key])
    return list(found.values())


def _latents(rows: Sequence[Row]) -> str:
    """Name the latents that samples are compared in: in other spaces nothing is near."""
    return rows[0].artifacts["latents"]


def _picked(
    prepared: Prepared, name: str, candidates: list[list[Row]], noise_multiplier: float
) -> list[str]:
    """Return the generators that a count picked: one that had all of these in it, or a new one."""
    store = prepared.store
    keys = [[str(row.trained) for row in rows] for rows in candidates]
    everyone = set(itertools.chain.from_iterable(keys))
    for count in _counts(store, name):
        counted = count.get("candidates", [])
        if everyone <= set(itertools.chain.from_iterable(counted)):
            return list(counted[count["picked"]])
    picked = _vote(prepared, name, candidates, noise_multiplier)
    meta = {
        "cell": name,
        "candidates": keys,
        "picked": picked,
        "noise_multiplier": noise_multiplier,
    }
    store.save(_STAGE, content_key([name, keys, noise_multiplier, _SAMPLES]), Artifact(meta))
    return keys[picked]


def _counts(store: Store, name: str) -> list[dict[str, Any]]:
    """Return the noisy counts that were made of a cell; those that do not say of which, too."""
    keys = sorted(path.parent.name for path in (store.root / _STAGE).glob("*/meta.json"))
    counts = [store.meta(_STAGE, key) for key in keys]
    return [count for count in counts if count.get("cell", name) == name]


def _ledger(prepared: Prepared, row: Row) -> list[Mechanism] | None:
    store = prepared.store
    if not row.trained or not store.has("generator", row.trained):
        return None
    meta = store.load("generator", row.trained).meta
    if meta["diverged"]:
        return None
    assert row.trial is not None  # it was trained
    earlier = prepared.directory.releases(row.trained, row.trial.identity.identity_key)
    ledgers = [*earlier, Ledger.model_validate(meta["ledger"])]
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

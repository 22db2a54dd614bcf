"""What it costs to publish a trial as the one that was chosen among others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from dpbench.results.identity import TrialIdentity
from dpbench.results.schema import Result

__all__ = ["Selection", "by_cell", "rivals", "selection"]


@dataclass(frozen=True)
class Selection:
    """How a trial stands to its rivals.

    Attributes:
        how: ``only``: there was nothing to choose from; ``stated``: a rule chose it before any
            score was seen; ``noisy``: a noisy count, which is paid for; ``uncounted``: a noisy
            count that not all of its rivals were in; ``scores``: nothing but exact private
            scores tells it from the others; ``other``: a rule chose another.
        among: how many trainings there were to choose from, its own included.
        epsilon: of publishing it as the one chosen; infinite where exact private scores may have
            chosen, ``None`` where another one was chosen or nothing was spent.
    """

    how: Literal["only", "stated", "noisy", "uncounted", "scores", "other"]
    among: int
    epsilon: float | None


def by_cell(results: Iterable[Result]) -> dict[str, list[Result]]:
    """Return the trained trials of each cell, by its key: one result of each training.

    ``results`` are all that are known: who looks at a part of them has seen the rest. Results of
    one training, under several protocols or under several names of its settings, count once.
    """
    cells: dict[str, dict[str, Result]] = {}
    for result in results:
        if not result.is_control and (result.privacy is not None or result.metrics):
            cells.setdefault(result.cell_key, {}).setdefault(_training(result), result)
    return {cell: list(found.values()) for cell, found in cells.items()}


def rivals(results: Iterable[Result], chosen: TrialIdentity) -> list[Result]:
    """Return the trials of the cell of ``chosen``, itself among them, as :func:`by_cell` does."""
    return by_cell(results).get(chosen.cell_key, [])


def selection(own: Sequence[Result], among: Iterable[Result]) -> Selection:
    """Say how the trial whose results (one a seed) are ``own`` stands ``among`` its rivals."""
    mine = {_training(result) for result in own}
    others = [result for result in among if _training(result) not in mine]
    count = len(mine) + len(others)
    spent = max((epsilon for r in own if (epsilon := _spent(r)) is not None), default=None)
    if not others:
        return Selection("only", count, spent)
    chosen = [result.choice for result in own if result.choice.chosen]
    elsewhere = any(result.choice.chosen for result in others)
    if not chosen:
        ruled = elsewhere and all(result.choice.rule != "scores" for result in own)
        return Selection("other", count, None) if ruled else Selection("scores", count, math.inf)
    if elsewhere or any(choice.rule == "scores" for choice in chosen):
        return Selection("scores", count, math.inf)
    if all(choice.rule != "noisy" for choice in chosen):
        return Selection("stated", count, spent)
    everyone = {result.identity_key for result in (*own, *others)}
    if any(choice.epsilon is None or not everyone <= {*choice.among} for choice in chosen):
        return Selection("uncounted", count, math.inf)
    return Selection("noisy", count, max(choice.epsilon or 0.0 for choice in chosen))


def _spent(result: Result) -> float | None:
    if result.epsilon_spent is None and result.privacy is not None:
        return result.privacy.spent.epsilon
    return result.epsilon_spent


def _training(result: Result) -> str:
    return result.artifacts.get("generator") or result.identity_key

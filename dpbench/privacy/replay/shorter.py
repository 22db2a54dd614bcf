"""Shortens a fit: what leaves it without noise leaves it in few steps as well as in many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from pydantic import ValidationError

from dpbench.api import Params
from dpbench.privacy.replay.fits import ReplayLane

__all__ = ["MOST_STEPS", "shortened", "shorter"]

MOST_STEPS = 50
"""Steps of a replayed fit; it need not learn well."""
P = TypeVar("P", bound=Params)


def shorter(lane: ReplayLane) -> ReplayLane:
    """Lower the parameters ``steps`` and ``..._steps`` of ``lane`` to :data:`MOST_STEPS`.

    An automatic number of ``steps`` (``None``) is replaced too. Where the parameters
    are then refused they stay as they are.
    """
    if not isinstance(lane.params, Params):
        return lane
    return replace(lane, params=shortened(lane.params, MOST_STEPS))


def shortened(
    params: P, most: int, free: Iterable[str] | None = None, lengths: Sequence[str] = ("steps",)
) -> P:
    """Lower those of ``lengths`` and ``..._steps`` that are among ``free`` (all) to ``most``."""
    names = type(params).model_fields if free is None else free
    changes = {n: most for n in names if _long(n, getattr(params, n), most, lengths)}
    if not changes:
        return params
    try:
        return type(params).model_validate({**params.model_dump(), **changes})
    except ValidationError:
        return params


def _long(name: str, value: object, most: int, lengths: Sequence[str]) -> bool:
    if name not in lengths and not name.endswith("_steps"):
        return False
    if value is None:
        return name in lengths
    return type(value) is int and value > most

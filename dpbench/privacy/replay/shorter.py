"""Shortens a fit: what leaves it without noise leaves it in few steps as well as in many."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from dpbench.api import Params
from dpbench.privacy.replay.fits import ReplayLane

__all__ = ["MOST_STEPS", "shorter"]

MOST_STEPS = 50
"""Steps of a replayed fit; it need not learn well."""


def shorter(lane: ReplayLane) -> ReplayLane:
    """Lower the parameters ``steps`` and ``..._steps`` of ``lane`` to :data:`MOST_STEPS`.

    An automatic number of ``steps`` (``None``) is replaced too. Where the parameters
    are then refused they stay as they are.
    """
    params = lane.params
    if not isinstance(params, Params) or not (changes := _changes(params)):
        return lane
    try:
        return replace(lane, params=type(params).model_validate({**params.model_dump(), **changes}))
    except ValidationError:
        return lane


def _changes(params: Params) -> dict[str, int]:
    names = [n for n in type(params).model_fields if n == "steps" or n.endswith("_steps")]
    return {n: MOST_STEPS for n in names if _long(n, getattr(params, n))}


def _long(name: str, value: object) -> bool:
    if value is None:
        return name == "steps"
    return type(value) is int and value > MOST_STEPS

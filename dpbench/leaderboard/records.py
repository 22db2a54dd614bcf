"""Results as records for other programs: JSON and CSV."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pandas as pd

from dpbench.results import Result

__all__ = ["to_csv", "to_json"]


def to_json(results: Iterable[Result]) -> str:
    """Return a JSON list of trials and controls; an infinite epsilon is ``"inf"``."""
    records = [result.model_dump(mode="json") for result in results]
    return json.dumps(records, indent=2, ensure_ascii=False)


def to_csv(results: Iterable[Result]) -> str:
    """Return one line per trial or control; nested fields are named ``metrics.fid``.

    Lists are JSON; what a row does not have is empty.
    """
    frame = pd.json_normalize([result.model_dump(mode="json") for result in results])
    # A field's columns stand where the schema puts the field, in order of name.
    place = {name: number for number, name in enumerate(Result.model_fields)}
    names = sorted(frame.columns, key=lambda name: (place[name.partition(".")[0]], name))
    frame = frame[names].map(lambda cell: json.dumps(cell) if isinstance(cell, list) else cell)
    # An empty object flattens to itself: to a CSV it is nothing.
    return str(frame.map(lambda cell: None if cell == {} else cell).to_csv(index=False))

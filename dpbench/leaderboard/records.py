"""Results as records for other programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

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
    rows = [dict(_flatten(result.model_dump(mode="json"))) for result in results]
    # A field's columns stand where the schema puts the field, in order of name.
    place = {name: number for number, name in enumerate(Result.model_fields)}
    names = sorted(
        {name for row in rows for name in row},
        key=lambda name: (place[name.partition(".")[0]], name),
    )
    output = io.StringIO()
    writer = csv.DictWriter(output, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return output.getvalue()


def _flatten(record: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield f"{prefix}{name}", json.dumps(value)
        else:
            yield f"{prefix}{name}", value

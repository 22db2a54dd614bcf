"""A result as one row for other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from dpbench.results import Result, to_json

__all__ = ["Record", "flat", "record", "typed"]

Record = dict[str, Any]
#: Artifacts made from public images alone: of a release, only their keys are published.
PUBLIC_ARTIFACTS = ("public",)


def record(result: Result, with_selection: float | None) -> Record:
    """Return a result's fields; keys of what was read from private images stay in the runs.

    ``with_selection`` is the epsilon of publishing it as chosen, where it is.
    """
    fields: Record = to_json(result, exclude={"choice": {"among"}})
    if result.secure:
        kept = {k: v for k, v in fields["artifacts"].items() if k in PUBLIC_ARTIFACTS}
        fields["artifacts"] = kept
    infinite = with_selection is not None and not math.isfinite(with_selection)
    fields["epsilon_with_selection"] = "inf" if infinite else with_selection
    fields["epsilon_audited"] = result.audit.epsilon_lower if result.audit else None
    return fields


def flat(records: Sequence[Record]) -> tuple[list[str], list[Record]]:
    """Return the names of all columns, and rows with one value a column, as JSON has them.

    Nested fields are named ``metrics.fid``; lists are JSON.
    """
    rows = [dict(_columns("", one)) for one in records]
    # A field's columns stand where the record has the field, in order of name.
    place = {name: number for one in records for number, name in enumerate(one)}
    names = {name for row in rows for name in row}
    return sorted(names, key=lambda name: (place[name.partition(".")[0]], name)), rows


def typed(row: Record) -> Record:
    """Return a row with infinity as the number that it is."""
    return {name: math.inf if value == "inf" else value for name, value in row.items()}


def _columns(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield columns and what stands in them; an empty object has none."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _columns(f"{name}.{key}" if name else key, inner)
    else:
        yield name, json.dumps(value) if isinstance(value, list) else value

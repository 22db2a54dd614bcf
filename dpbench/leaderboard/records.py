"""Results as records for other programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

from dpbench.leaderboard.report import Report

__all__ = ["csv_text", "json_text"]


def json_text(report: Report) -> str:
    """Return a JSON list of trials and controls; an infinite epsilon is ``"inf"``."""
    return json.dumps(report.records, indent=2, ensure_ascii=False) + "\n"


def csv_text(report: Report) -> str:
    """Return one line per trial or control; nested fields are named ``metrics.fid``.

    Lists are JSON; what a row does not have is empty.
    """
    rows = [dict(_flat("", record)) for record in report.records]
    # A field's columns stand where the record has the field, in order of name.
    place = {name: number for record in report.records for number, name in enumerate(record)}
    names = {name for row in rows for name in row}
    file = io.StringIO()
    ordered = sorted(names, key=lambda name: (place[name.partition(".")[0]], name))
    writer = csv.DictWriter(file, ordered, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield columns and what stands in them; an empty object is nothing to a CSV."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}" if name else key, inner)
    else:
        yield name, json.dumps(value) if isinstance(value, list) else value

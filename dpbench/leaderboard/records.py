"""Results as records for other programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from dpbench.leaderboard.report import Report
from dpbench.leaderboard.rows import flat

__all__ = ["csv_text", "json_text"]


def json_text(report: Report) -> str:
    """Return a JSON list of trials and controls; an infinite epsilon is ``"inf"``."""
    return json.dumps(report.records, indent=2, ensure_ascii=False) + "\n"


def csv_text(report: Report) -> str:
    """Return one line per trial or control; nested fields are named ``metrics.fid``.

    Lists are JSON; what a row does not have is empty.
    """
    columns, rows = flat(report.records)
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _no_formula(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def _no_formula(value: Any) -> Any:
    """Keep a spreadsheet from computing what is text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in tuple("=+-@\t\r") else value

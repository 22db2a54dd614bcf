"""Results as records for other programs: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

from dpbench.leaderboard.report import Report
from dpbench.leaderboard.rows import flat

__all__ = ["csv_text", "json_text", "without_apostrophe"]

#: Text that a spreadsheet would compute; with an apostrophe before it, text that it would not.
FORMULA, QUOTED = re.compile(r"'*[=+\-@\t\r]"), re.compile(r"'+[=+\-@\t\r]")


def json_text(report: Report) -> str:
    """Return a JSON list of trials and controls; an infinite epsilon is ``"inf"``."""
    return json.dumps(report.records, indent=2, ensure_ascii=False) + "\n"


def csv_text(report: Report) -> str:
    """Return one line per trial or control; nested fields are named ``metrics.fid``.

    Lists are JSON; what a row does not have is empty. Before text that a spreadsheet would
    compute stands an apostrophe, which :func:`without_apostrophe` takes away.
    """
    columns, rows = flat(report.records)
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _with_apostrophe(value) for name, value in row.items()} for row in rows)
    return file.getvalue()


def _with_apostrophe(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def without_apostrophe(value: Any) -> Any:
    """Return text of a CSV as it was before :func:`csv_text`; what is no text stays.

    >>> without_apostrophe("'=SUM(A1)")
    '=SUM(A1)'
    """
    return value[1:] if isinstance(value, str) and QUOTED.match(value) else value

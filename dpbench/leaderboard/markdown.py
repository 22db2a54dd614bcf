"""A report in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tabulate import tabulate

from dpbench.leaderboard.report import Part, Report
from dpbench.leaderboard.tables import Table

__all__ = ["as_code", "as_text", "markdown", "markdown_table"]


def markdown(report: Report) -> str:
    """Return ``report`` with its tables as GitHub's."""
    parts = [_part(part) for part in report.told]
    if report.set_aside:
        parts.append("\n\n".join(["## Left out", _listed(report.set_aside)]))
    return "\n\n".join(parts) + "\n"


def _part(part: Part) -> str:
    shown = [f"## {as_text(part.title)}", as_text(part.protocol)]
    for table in part.tables:
        shown += [f"### {as_text(table.title)}", markdown_table(table)]
    shown.append(_listed(part.notes))
    if part.unranked:
        shown += ["### Not ranked", _listed(part.unranked)]
    return "\n\n".join(shown)


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {as_text(line)}" for line in lines)


def markdown_table(table: Table) -> str:
    """Return ``table`` as a GitHub table; a group stands above its columns' titles."""
    heads = ["<br>".join(map(_escape, filter(None, (c.group, c.title)))) for c in table.columns]
    rows = [
        [
            f"**{_escape(cell)}**" if (number, index) in table.bold else _escape(cell)
            for index, cell in enumerate(row)
        ]
        for number, row in enumerate(table.rows)
    ]
    align = ["left" if column.left else "right" for column in table.columns]
    return tabulate(rows, heads, tablefmt="pipe", colalign=align, disable_numparse=True)


def _escape(text: str) -> str:
    return as_text(text).replace("*", "\\*").replace("_", "\\_")


def as_text(text: str) -> str:
    """Show what a stranger's label, or an error, may hold as it is, and in one line."""
    line = " ".join(text.splitlines()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\\[\]|])", r"\\\1", line)


def as_code(text: str) -> str:
    """Return a command as code that stays in its cell: a bar after two backslashes would end it."""
    line = " ".join(text.splitlines()).replace("`", "'")
    return "`" + re.sub(r"\\*\|", r"\\|", line) + "`"

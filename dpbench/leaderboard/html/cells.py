"""Tables as a page shows them: cells with the value that they are sorted by."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Cell", "Grid", "Head", "Row", "sort_value"]


@dataclass(frozen=True)
class Head:
    """A column's heading; ``epsilon`` is the number of the target it belongs to."""

    title: str
    epsilon: int | None = None
    left: bool = False
    lower_first: bool = True


@dataclass(frozen=True)
class Cell:
    """What is shown, what it is sorted by where that is a number, and where it leads."""

    text: str
    value: str | None = None
    row: str | None = None
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Cells; the first one names the row."""

    cells: tuple[Cell, ...]
    method: str = ""
    id: str | None = None
    epsilon: int | None = None


@dataclass(frozen=True)
class Grid:
    """A table that can be sorted: groups of columns, headings, rows.

    Attributes:
        key: the metric that it is of, or what else tells it from others of its section.
        groups: title, number of columns and number of the target of each group.
    """

    key: str
    title: str
    caption: str
    heads: tuple[Head, ...]
    rows: tuple[Row, ...]
    groups: tuple[tuple[str, int, int | None], ...] = ()


def sort_value(value: float | None) -> str | None:
    """Return a number as a script reads it, infinity included; ``None`` if there is none."""
    if value is None or math.isnan(value):
        return None
    return f"{value:.6g}" if math.isfinite(value) else ("1e999" if value > 0 else "-1e999")

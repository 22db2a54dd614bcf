"""Results as tables of pandas, from a runs directory or from a leaderboard's CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dpbench.errors import DpbenchError
from dpbench.leaderboard import load
from dpbench.leaderboard.records import without_apostrophe

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["figure_column", "read_table"]

#: Columns of text, which a CSV does not tell from numbers; protocols' are compared as text.
NAMES = ("method", "dataset", "settings", "labels", "protocol.name")


def read_table(source: str) -> DataFrame:
    """Read the rows of ``PATH`` or ``PATH:GRID``: a runs directory, or a CSV that one wrote.

    ``GRID`` keeps the rows that a grid mentioned, or whose settings have that name.

    Raises:
        DpbenchError: nothing is there, or nothing of that grid.
    """
    path, _, grid = source.partition(":")
    table = _csv(Path(path)) if path.endswith(".csv") else load(Path(path)).frame
    if grid:
        table = table[(table["settings"] == grid) | table["grids"].map(lambda g: f'"{grid}"' in g)]
        if table.empty:
            raise DpbenchError(f"no results of grid {grid!r} in {path}: see `dpbench leaderboard`")
    return table


def _csv(path: Path) -> DataFrame:
    import pandas

    try:
        columns = pandas.read_csv(path, nrows=0).columns
        text = [name for name in columns if name in NAMES or name.startswith("protocol.")]
        table = pandas.read_csv(path, low_memory=False, dtype=dict.fromkeys(text, str))
        if not {"method", "settings"} <= {*table}:
            raise DpbenchError(f"{path} has no columns method and settings: name a results.csv")
        for name in table.select_dtypes(exclude=["number", "bool"]):
            table[name] = table[name].map(without_apostrophe)
        if "labels" not in table:  # an earlier version knew none
            table["labels"] = "none"
        return table
    except OSError as error:
        raise DpbenchError(f"cannot read {path} ({error.strerror}): name a results.csv") from None
    except ValueError as error:
        raise DpbenchError(f"{path} is no table ({error}): name a results.csv") from None


def figure_column(table: DataFrame, name: str) -> str:
    """Return the column of a figure.

    Raises:
        DpbenchError: no row has it.
    """
    column = f"metrics.{name}"
    if column not in table or table[column].isna().all():
        named = [str(c) for c in table if str(c).startswith("metrics.")]
        known = ", ".join(c.removeprefix("metrics.") for c in named)
        raise DpbenchError(f"no row has the figure {name!r} (there are: {known})")
    return column

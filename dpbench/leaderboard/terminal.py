"""A report on a terminal."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from dpbench.leaderboard.report import Part, Report
from dpbench.leaderboard.tables import Table

__all__ = ["PLAIN_WIDTH", "rich", "terminal"]

#: Width of text that goes to a file or a pipe.
PLAIN_WIDTH = 120
MOST_LINES = 12


def terminal(report: Report, width: int = PLAIN_WIDTH) -> str:
    """Return ``report`` as plain text of at most ``width`` columns of characters."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(rich(report, width))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def rich(report: Report, width: int = PLAIN_WIDTH) -> RenderableType:
    """Return what a rich console prints, for ``width`` columns of characters."""
    shown = [_part(part, width) for part in report.told]
    if report.set_aside:
        shown.append(_listed("Left out:", report.set_aside))
    return Group(*shown)


def _part(part: Part, width: int) -> RenderableType:
    shown: list[RenderableType] = [
        Text(part.title, style="bold underline"),
        Text(part.protocol),
        Text(""),
    ]
    shown += [_table(table, width) for table in part.tables]
    shown += [Text(line) for line in part.notes]
    if part.unranked:
        shown.append(_listed("Not ranked:", part.unranked, " (--by clip shows all)"))
    return Padding(Group(*shown), (0, 0, 1, 0))


def _listed(heading: str, lines: tuple[str, ...], elsewhere: str = "") -> RenderableType:
    shown: list[RenderableType] = [Text(heading)]
    shown += [Padding(Text(line), (0, 0, 0, 2)) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(Text(f"  and {len(lines) - MOST_LINES} more{elsewhere}"))
    return Group(*shown)


def _table(table: Table, width: int) -> RenderableType:
    """Return ``table`` as rich tables, each of at most ``width`` columns of characters.

    What is too wide is cut between groups of columns; the naming columns repeat.
    """
    parts = [_rich(table, chosen) for chosen in _cuts(table, width)]
    return Group(Text(table.title, style="bold"), *parts)


def _cuts(table: Table, width: int) -> Iterator[list[int]]:
    """Yield the columns of each part: the naming ones, then as many groups as fit."""
    keys = list(range(table.keys))
    size = [_width(table, index) for index in range(len(table.columns))]
    blocks: list[list[int]] = []
    for index in range(table.keys, len(table.columns)):
        group = table.columns[index].group
        if blocks and group and table.columns[blocks[-1][0]].group == group:
            blocks[-1].append(index)
        else:
            blocks.append([index])
    part: list[int] = []
    for block in blocks:
        if part and sum(size[i] for i in (*keys, *part, *block)) > width:
            yield keys + part
            part = []
        part = part + block
    yield keys + part


def _width(table: Table, index: int) -> int:
    cells = [row[index] for row in table.rows]
    column = table.columns[index]
    # A common heading stands above the second column of its group, the widest.
    first = [column.group] if column.group and _position(table, index) == 1 else []
    return max(map(len, [column.short or column.title, *first, *cells])) + 2


def _position(table: Table, index: int) -> int:
    group = table.columns[index].group
    return sum(column.group == group for column in table.columns[:index])


def _rich(table: Table, chosen: list[int]) -> Padding:
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    grouped = any(column.group for column in table.columns)
    for index in chosen:
        column = table.columns[index]
        above = column.group if grouped and _position(table, index) == 1 else ""
        short = column.short or column.title
        title = Text(f"{above}\n{short}" if grouped else short)
        shown.add_column(title, justify="left" if column.left else "right", no_wrap=True)
    for number, row in enumerate(table.rows):
        cells = [_cell(row[i], (number, i) in table.bold) for i in chosen]
        shown.add_row(*cells, end_section=number in table.breaks)
    return Padding(shown, (0, 0, 1, 0))


def _cell(text: str, bold: bool) -> Text:
    style = "bold" if bold else "dim" if text == "–" else ""
    return Text(text, style=style)

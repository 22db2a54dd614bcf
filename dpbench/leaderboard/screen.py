"""A report on one screen: the table that matters, and where everything else is."""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.text import Text

from dpbench.leaderboard.notes import not_installed, other_seeds
from dpbench.leaderboard.report import Part, Report
from dpbench.leaderboard.tables import MISSING, Table, control_line, short_table
from dpbench.leaderboard.view import SHORT, View

__all__ = ["LINES", "screen", "screen_text"]

#: A terminal has 24 lines; a run says up to five more beneath.
LINES = 19
FEWEST_ROWS = 3
GAP = 2


def screen_text(report: Report, width: int, view: View = SHORT, quiet: bool = False) -> str:
    """Return what :func:`screen` shows as plain text."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(screen(report, width, view, quiet))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def screen(report: Report, width: int, view: View = SHORT, quiet: bool = False) -> RenderableType:
    """Return each part as a table of methods by target, in at most :data:`LINES` lines at
    100 columns; ``quiet``: nothing but tables, and all their rows."""
    share = LINES // max(len(report.parts), 1)
    shown: list[Text] = []
    for part in report.parts:
        shown += _part(part, width, view, share, quiet)
    if report.set_aside and not quiet:
        shown.append(Text(f"left out: {len(report.set_aside)} unreadable files (--detail)"))
    return Group(*shown)


def _part(part: Part, width: int, view: View, lines: int, quiet: bool) -> Iterator[Text]:
    table = short_table(part.section, view)
    beneath = [] if quiet else list(_beneath(part, width, view))
    widths = [_column_width(table, index) for index in range(len(table.columns))]
    blocks = list(_blocks(table, widths, width))
    heads = 1 + 2 * len(blocks)
    room = (lines - heads - len(beneath)) // len(blocks)
    gone = [] if quiet else not_installed(part.section)
    if gone and room > FEWEST_ROWS + 1:  # --detail names them all
        beneath.append(_cut(gone[0].partition(";")[0], width, "yellow"))
        room -= 1
    most = len(table.rows) if quiet or room >= len(table.rows) else max(room - 1, FEWEST_ROWS)
    most += most == len(table.rows) - 1  # to say that one is left out takes the line it needs
    yield Text(f"{part.title}: {table.title}", style="bold")
    for block in blocks:
        yield from _lines(table, block, widths, most)
    if most < len(table.rows):
        yield Text(f"and {len(table.rows) - most} methods more: --detail", style="dim")
    yield from beneath


def _beneath(part: Part, width: int, view: View) -> Iterator[Text]:
    """Yield controls, how to read the ranks, and what failed: a line each."""
    controls = control_line(part.section, view)
    yield from map(Text, textwrap.wrap(controls, width, break_on_hyphens=False))
    seeds = part.section.usual_seeds
    others = "".join(f"; {line.rstrip('.')}" for line in other_seeds(part.section))
    marks = "; † a class is missing" if any(c.collapsed for c in part.section.candidates) else ""
    yield Text(_ranked(seeds, others, marks, width), style="dim")
    failed = Counter(r.status for r in part.section.trials if r.status not in ("ok", "collapsed"))
    if part.unranked:
        named = ", ".join(f"{count} {status}" for status, count in failed.items())
        said = f"not ranked: {named or len(part.unranked)}; first: {part.unranked[0]}"
        yield _cut(said, width, "red")


def _ranked(seeds: int, others: str, marks: str, width: int) -> str:
    """Say what ranks rest on; names that do not fit are told by --detail."""
    how = f"{seeds} seeds{others}; = shared rank" if seeds > 1 else "1 seed: ranks untested"
    said = f"#: rank by FID, lower is better ({how}{marks})"
    if len(said) <= width or not others:
        return said
    return _ranked(seeds, "", "; some differ: --detail" + marks, width)


def _cut(text: str, width: int, style: str = "") -> Text:
    """Return one line; what does not fit is a sentence's end, never a name or a figure."""
    return Text(text if len(text) <= width else f"{text[: width - 1]}…", style=style)


def _blocks(table: Table, widths: list[int], width: int) -> Iterator[list[list[int]]]:
    """Yield the groups of columns that fit beside the names; names repeat in each block."""
    groups: dict[str, list[int]] = {}
    for index, column in enumerate(table.columns[1:], 1):
        groups.setdefault(column.group, []).append(index)
    room = width - _name_width(table)
    block: list[list[int]] = []
    for columns in groups.values():
        used = sum(_group_width(table, other, widths) + GAP for other in (*block, columns))
        if block and used > room:
            yield block
            block = []
        block.append(columns)
    yield block


def _name_width(table: Table) -> int:
    return max([len("method"), *(len(row[0]) for row in table.rows)])


def _column_width(table: Table, index: int) -> int:
    column = table.columns[index]
    figures = [row[index] for row in table.rows if _reason(row, index) is None]
    return max(len(column.short or column.title), *map(len, [*figures, ""]))


def _group_width(table: Table, columns: list[int], widths: list[int]) -> int:
    figures = sum(widths[index] + 1 for index in columns) - 1
    reasons = [_reason(row, columns[1]) or "" for row in table.rows]
    return max(figures, len(table.columns[columns[0]].group), *map(len, reasons))


def _reason(row: list[str], index: int) -> str | None:
    """Return what stands instead of figures; it may be wider than they are."""
    return row[index] if row[index - 1] == MISSING and not row[index][:1].isdigit() else None


def _lines(table: Table, block: list[list[int]], widths: list[int], most: int) -> Iterator[Text]:
    names = _name_width(table)
    above, below = Text(" " * names), Text("method".ljust(names), style="bold")
    groups = [(columns, _group_width(table, columns, widths)) for columns in block]
    for columns, wide in groups:
        above.append(" " * GAP + table.columns[columns[0]].group.center(wide), style="bold")
        heads = [table.columns[i].short or table.columns[i].title for i in columns]
        below.append(" " * GAP + _figures(columns, widths, heads).rjust(wide))
    yield above
    yield below
    for number, row in enumerate(table.rows[:most]):
        line = Text(row[0].ljust(names))
        for columns, wide in groups:
            reason = _reason(row, columns[1])
            said = reason or _figures(columns, widths, [row[i] for i in columns])
            best = (number, columns[1]) in table.bold
            line.append(" " * GAP)
            line.append(said.rjust(wide), style="bold green" if best else "dim" if reason else "")
        yield line


def _figures(columns: list[int], widths: list[int], cells: list[str]) -> str:
    return " ".join(cell.rjust(widths[index]) for index, cell in zip(columns, cells, strict=True))

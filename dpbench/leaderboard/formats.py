"""Tables for a terminal, in Markdown and in LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text
from tabulate import tabulate

from dpbench.leaderboard.tables import Column, Table

__all__ = ["latex", "markdown", "terminal"]


def terminal(table: Table, width: int) -> RenderableType:
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


def markdown(table: Table) -> str:
    """Return ``table`` as a GitHub table; a group stands above its columns' titles."""
    heads = [_escape(c.title if not c.group else f"{c.group}<br>{c.title}") for c in table.columns]
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
    return text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "ε": r"$\varepsilon$", "δ": r"$\delta$", "σ": r"$\sigma$", "∞": r"$\infty$",
    "≥": r"$\geq$", "–": "--", "†": r"$\dagger$", "é": r"\'e",
}  # fmt: skip


def tex(text: str) -> str:
    """Escape ``text`` for LaTeX; the symbols used in tables become mathematics."""
    return "".join(LATEX.get(character, character) for character in text)


def latex(table: Table, note: str) -> str:
    """Return ``table`` as a floating table that needs only the package ``booktabs``."""
    body = [_latex_row(table, number) for number in range(len(table.rows))]
    heads = " & ".join(tex(column.title) for column in table.columns) + r" \\"
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{tex(f'{table.title}. {note}')}}}",
        rf"\begin{{tabular}}{{{''.join('l' if c.left else 'r' for c in table.columns)}}}",
        r"\toprule",
        *_latex_groups(table.columns),
        heads,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _latex_row(table: Table, number: int) -> str:
    cells = [
        rf"\textbf{{{tex(cell)}}}" if (number, index) in table.bold else tex(cell)
        for index, cell in enumerate(table.rows[number])
    ]
    rule = "\n\\midrule" if number in table.breaks else ""
    return " & ".join(cells) + r" \\" + rule


def _latex_groups(columns: list[Column]) -> Iterator[str]:
    """Yield the row of common headings and the rules beneath them."""
    if not any(column.group for column in columns):
        return
    heads, rules, position = [], [], 1
    for group, members in groupby(columns, key=lambda column: column.group):
        size = len(list(members))
        heads.append(rf"\multicolumn{{{size}}}{{c}}{{{tex(group)}}}" if group else "")
        if not group:
            heads += [""] * (size - 1)
        else:
            rules.append(rf"\cmidrule(lr){{{position}-{position + size - 1}}}")
        position += size
    yield " & ".join(heads) + r" \\"
    yield " ".join(rules)

"""A report's tables in LaTeX."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from dpbench.leaderboard.report import Report
from dpbench.leaderboard.tables import Column, Table

__all__ = ["latex", "tex"]


def latex(report: Report) -> str:
    """Return one floating table for each table of ``report``; notes are left to the author."""
    return (
        "\n\n".join(
            _table(table, f"{part.title}. {part.protocol}")
            for part in report.parts
            for table in part.tables
        )
        + "\n"
    )


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "±": r"$\pm$", "ε": r"$\varepsilon$", "δ": r"$\delta$", "σ": r"$\sigma$", "∞": r"$\infty$",
    "≥": r"$\geq$", "–": "--", "†": r"$\dagger$", "é": r"\'e",
}  # fmt: skip


def tex(text: str) -> str:
    """Escape ``text`` for LaTeX; the symbols used in tables become mathematics."""
    return "".join(LATEX.get(character, character) for character in text)


def _table(table: Table, note: str) -> str:
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

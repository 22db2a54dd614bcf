"""What a leaderboard says, ready for any format to render."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dpbench.leaderboard import notes
from dpbench.leaderboard.board import Leaderboard
from dpbench.leaderboard.rows import Record
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import Table, best_tables, sweep_tables
from dpbench.leaderboard.words import protocol_text

__all__ = ["By", "Part", "Report", "make_report"]

By = Literal["method", "clip"]


@dataclass(frozen=True)
class Part:
    """One section: a title, tables of plain text, and the lines that stand beneath them.

    Attributes:
        protocol: one sentence: what makes the section's scores comparable.
        notes: how to read the tables.
        unranked: what is not ranked, with the reason.
    """

    title: str
    protocol: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    unranked: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything that is shown, in the order in which it is shown.

    Attributes:
        records: one for each trial and control, for other programs: a result's fields
            and ``epsilon_with_selection`` and ``epsilon_audited``.
        set_aside: files that could not be read, with the reason.
    """

    parts: tuple[Part, ...]
    records: tuple[Record, ...]
    set_aside: tuple[str, ...]


def make_report(board: Leaderboard, by: By = "method") -> Report:
    """Lay out ``board``, by the best clips or by every clip; records hold all trials anyway."""
    return Report(
        parts=tuple(_part(section, by) for section in board.sections),
        records=board.records,
        set_aside=tuple(map(str, board.set_aside)),
    )


def _part(section: Section, by: By) -> Part:
    return Part(
        title=section.title,
        protocol=protocol_text(section.protocol),
        tables=tuple(sweep_tables(section) if by == "clip" else best_tables(section)),
        notes=(*notes.caption(section), *notes.notes(section)),
        unranked=tuple(notes.unranked(section)),
    )

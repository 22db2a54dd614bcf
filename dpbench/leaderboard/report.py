"""What a leaderboard says, ready for any format to render."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from dpbench.leaderboard import notes
from dpbench.leaderboard.board import Leaderboard
from dpbench.leaderboard.rows import Record
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.sweeps import axis_tables, seed_tables, sweep_tables
from dpbench.leaderboard.tables import Table, best_tables
from dpbench.leaderboard.view import require_axis
from dpbench.leaderboard.words import duration, protocol_text
from dpbench.results import Run

__all__ = ["By", "Part", "Report", "anchors", "make_report"]

#: ``method``: the best clips; ``clip``: the sweep; ``seed``: every trial; or a swept axis.
By = str


@dataclass(frozen=True)
class Part:
    """One section: a title, tables of plain text, and the lines that stand beneath them.

    Attributes:
        protocol: one sentence: what makes the section's scores comparable.
        notes: how to read the tables.
        unranked: what is not ranked, with the reason.
        section: the results themselves, for formats that draw.
        lay: lays the tables out; a short screen never asks for them.
    """

    section: Section
    title: str
    protocol: str
    notes: tuple[str, ...]
    unranked: tuple[str, ...]
    lay: Callable[[], list[Table]]

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        return tuple(self.lay())


@dataclass(frozen=True)
class Report:
    """Everything that is shown, in the order in which it is shown.

    Attributes:
        board: what is reported.
        set_aside: files that could not be read, with the reason.
        made: command, time, when it ended and what it ran on, of each run.
        runs: where the results were read from, and pictures can be.
        submitted: third parties' packages and what is known of them, where there are any.
    """

    parts: tuple[Part, ...]
    board: Leaderboard
    set_aside: tuple[str, ...]
    made: tuple[tuple[str, str, str, str], ...] = ()
    runs: Path | None = None
    submitted: Table | None = None

    @property
    def told(self) -> tuple[Part, ...]:
        """The parts that have tables: by a swept axis, those where it was swept."""
        return tuple(part for part in self.parts if part.tables)

    @property
    def records(self) -> tuple[Record, ...]:
        """One for each trial and control, for other programs: see :attr:`Leaderboard.records`."""
        return self.board.records


def make_report(board: Leaderboard, by: By = "method") -> Report:
    """Lay out ``board`` by one of :data:`By`; records hold all trials anyway.

    Raises:
        UnknownColumn: no grid swept an axis of this name.
    """
    if by not in ("method", "clip", "seed"):
        require_axis(board.sections, by)
    return Report(
        parts=tuple(_part(section, by, board.numbers) for section in board.sections),
        board=board,
        set_aside=tuple(map(str, board.set_aside)),
        made=tuple(map(_made, board.history)),
        runs=board.runs,
    )


def anchors(report: Report) -> list[str]:
    """Return a name for each part that links can use; no two are alike."""
    found: list[str] = []
    for part in report.parts:
        name = re.sub(r"[^a-z0-9]+", "-", part.title.lower()).strip("-")
        found.append(f"{name}-{len(found) + 1}" if name in found else name)
    return found


def _made(run: Run) -> tuple[str, str, str, str]:
    versions = ", ".join(f"{name} {value}" for name, value in run.versions.items())
    return run.command, duration(run.wall_seconds), run.finished, versions


def _tables(section: Section, by: By, numbers: Mapping[str, int]) -> list[Table]:
    if by == "method":
        return best_tables(section)
    if by == "clip":
        return sweep_tables(section)
    return seed_tables(section, numbers) if by == "seed" else axis_tables(section, by)


def _part(section: Section, by: By, numbers: Mapping[str, int]) -> Part:
    return Part(
        section=section,
        title=section.title,
        protocol=protocol_text(section.protocol),
        notes=(*notes.caption(section), *notes.notes(section)),
        unranked=tuple(notes.unranked(section)),
        lay=partial(_tables, section, by, numbers),
    )

"""What a leaderboard says, ready for any format to render."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from dpbench.leaderboard import notes
from dpbench.leaderboard.board import Leaderboard
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import Table, best_tables, sweep_tables
from dpbench.leaderboard.words import protocol_text
from dpbench.results import Result, to_json

__all__ = ["By", "Part", "Report", "make_report"]

By = Literal["method", "clip"]
#: Artifacts made from public images alone: of a release, only their keys are published.
PUBLIC_ARTIFACTS = ("public",)


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
    records: tuple[dict[str, Any], ...]
    set_aside: tuple[str, ...]


def make_report(board: Leaderboard, by: By = "method") -> Report:
    """Lay out ``board``, by the best clips or by every clip; records hold all trials anyway."""
    chosen = {
        result.key: epsilon
        for section in board.sections
        for candidate, epsilon in section.selected()
        for result in candidate.results
    }
    return Report(
        parts=tuple(_part(section, by) for section in board.sections),
        records=tuple(_record(result, chosen.get(result.key)) for result in board.results),
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


def _record(result: Result, with_selection: float | None) -> dict[str, Any]:
    """Return a result's fields; keys of what was read from private images stay in the runs."""
    record: dict[str, Any] = to_json(result)
    if result.secure:
        kept = {k: v for k, v in record["artifacts"].items() if k in PUBLIC_ARTIFACTS}
        record["artifacts"] = kept
    shown = None if with_selection is None else with_selection
    infinite = shown is not None and not math.isfinite(shown)
    record["epsilon_with_selection"] = "inf" if infinite else shown
    record["epsilon_audited"] = result.audit.epsilon_lower if result.audit else None
    return record

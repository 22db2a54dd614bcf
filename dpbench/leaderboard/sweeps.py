"""Tables with a row for every clip, every seed, or every value of a swept axis."""

from __future__ import annotations

from collections.abc import Mapping

from dpbench.leaderboard.candidates import PRIMARY, Candidate, Target, axis_order
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import (
    MISSING,
    Column,
    Figures,
    Table,
    control_table,
    ruled,
    setting_column,
)
from dpbench.leaderboard.words import significant

__all__ = ["axis_tables", "seed_tables", "sweep_tables"]


def sweep_tables(section: Section) -> list[Table]:
    """Return the full sweep: one row per method, target, clip and setting of other axes."""
    figures = Figures(section)
    titles = ["seeds", figures.title("fid"), "/ public", figures.title("is"), "ε spent"]
    columns = [
        Column("target", left=True),
        Column("method", left=True),
        setting_column(section),
        *map(Column, titles),
        Column("status", left=True),
    ]
    table = Table("sweep", "Every clip (bold: the best one)", columns, keys=3)
    for row, candidate in enumerate(section.candidates):
        if candidate is section.chosen(candidate.method, candidate.target):
            table.bold.add((row, 4))
        fid = candidate.figure(PRIMARY)
        table.rows.append(
            [
                section.target_text(candidate.target),
                candidate.method,
                candidate.setting or MISSING,
                f"{len(candidate.seeds(PRIMARY))}/{len(candidate.results)}",
                figures.text(candidate, "fid", counted=False),
                figures.ratio(fid.mean if fid else None),
                figures.text(candidate, "is", counted=False),
                MISSING if candidate.spent is None else significant(candidate.spent),
                ", ".join(sorted(candidate.statuses)),
            ]
        )
    return [t for t in (ruled(table), control_table(section, figures)) if t.rows]


def seed_tables(section: Section, numbers: Mapping[str, int]) -> list[Table]:
    """Return one row for every trial, with the number that ``dpbench show`` knows it by."""
    figures = Figures(section)
    named = [*(Column(title, left=True) for title in ("target", "method")), setting_column(section)]
    titles = ["seed", figures.title("fid"), figures.title("is"), "ε spent"]
    columns = [Column("row"), *named, *map(Column, titles), Column("status", left=True)]
    table = Table("seeds", "Every trial", columns, keys=3)
    for candidate in section.candidates:
        for result in candidate.results:
            spent = result.epsilon_spent
            table.rows.append(
                [
                    str(numbers.get(result.key, MISSING)),
                    section.target_text(candidate.target),
                    candidate.method,
                    candidate.setting or MISSING,
                    MISSING if result.seed is None else str(result.seed),
                    figures.plain(result.metrics.get("fid"), "fid"),
                    figures.plain(result.metrics.get("is"), "is"),
                    MISSING if spent is None else significant(spent),
                    result.status,
                ]
            )
    return [table]


def axis_tables(section: Section, axis: str) -> list[Table]:
    """Return the best candidate of each method and target at each value of a swept ``axis``."""
    figures = Figures(section)
    titles = [figures.title("fid"), "/ public", figures.title("is")]
    columns = [Column("target", left=True), Column("method", left=True), Column(axis, left=True)]
    columns += [setting_column(section), *map(Column, titles)]
    table = Table("axis", f"Best setting at each value of {axis} (bold: the best value)", columns,
                  keys=3)  # fmt: skip
    for target in section.targets:
        for method in section.methods:
            best = section.chosen(method, target)
            for value, candidate in _at_values(section, method, target, axis).items():
                if candidate is best:
                    table.bold.add((len(table.rows), 4))
                fid = candidate.figure(PRIMARY)
                row = [section.target_text(target), method, value, candidate.setting or MISSING]
                row += [figures.text(candidate, "fid"), figures.ratio(fid.mean if fid else None)]
                table.rows.append([*row, figures.text(candidate, "is")])
    return [ruled(table)] if table.rows else []


def _at_values(section: Section, method: str, target: Target, axis: str) -> dict[str, Candidate]:
    """Return the best candidate by value of an axis, named in full or by its last part."""
    found: dict[tuple[bool, float, str], list[Candidate]] = {}
    for candidate in section.among(method, target):
        for name, value in candidate.axes.items():
            if axis in (name, name.rpartition(".")[2]):
                found.setdefault(axis_order(value), []).append(candidate)
    return {v[-1]: min(some, key=lambda c: c.worth) for v, some in sorted(found.items())}

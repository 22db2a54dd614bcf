"""Every candidate as one row: what was tried, what it scored, spent and cost."""

from __future__ import annotations

from dpbench.leaderboard.candidates import PRIMARY, Candidate
from dpbench.leaderboard.charts.figures import epsilon_of, row_id
from dpbench.leaderboard.charts.scatter import seconds_of
from dpbench.leaderboard.html.cells import Cell, Grid, Head, Row, sort_value
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import MISSING, Figures, trust_text
from dpbench.leaderboard.words import duration, number, significant

__all__ = ["settings_table"]


def settings_table(section: Section) -> Grid:
    """Return a row for every method, target, clip and setting of other axes."""
    figures = Figures(section)
    keys = [PRIMARY, *figures.extra()]
    heads = [Head("method", left=True), Head("ε"), Head("setting", left=True), Head("seeds")]
    heads += [Head(figures.title(k), lower_first=figures.column(k).better != "higher")
              for k in keys]  # fmt: skip
    heads += [Head(title) for title in ("ε spent", "ε with selection", "ε audited", "training")]
    heads += [Head("trust", left=True), Head("status", left=True)]
    return Grid(
        "settings",
        "Every setting",
        "Mean over seeds; ★ the setting that stands for its method at this ε",
        tuple(heads),
        tuple(_row(section, figures, keys, c) for c in section.candidates),
    )


def _row(section: Section, figures: Figures, keys: list[str], candidate: Candidate) -> Row:
    chosen = section.chosen(candidate.method, candidate.target) is candidate
    epsilon = epsilon_of(candidate.target, candidate)
    seconds, scored = seconds_of(candidate), len(candidate.seeds(PRIMARY))
    cells = [
        Cell(candidate.method + (" ★" if chosen else "")),
        Cell(section.target_text(candidate.target).removeprefix("ε = "), sort_value(epsilon)),
        Cell(_setting(candidate), sort_value(candidate.clip)),
        Cell(f"{scored}/{len(candidate.results)}", sort_value(scored)),
        *(_mean(figures, candidate, key) for key in keys),
        _epsilon(candidate.spent),
        _epsilon(section.with_selection(candidate)),
        _epsilon(candidate.audited, "≥ "),
        Cell(MISSING if seconds is None else duration(seconds), sort_value(seconds)),
        Cell(trust_text(candidate)),
        Cell(", ".join(sorted(candidate.statuses))),
    ]
    target = section.targets.index(candidate.target)
    return Row(tuple(cells), candidate.method, row_id(candidate), target)


def _setting(candidate: Candidate) -> str:
    setting = candidate.setting
    return f"clip {setting}" if candidate.clip is not None else setting or MISSING


def _mean(figures: Figures, candidate: Candidate, key: str) -> Cell:
    figure = candidate.figure(key)
    if figure is None:
        return Cell(MISSING)
    return Cell(number(figure.mean, figures.column(key).digits), sort_value(figure.mean))


def _epsilon(value: float | None, before: str = "") -> Cell:
    return Cell(MISSING if value is None else before + significant(value), sort_value(value))

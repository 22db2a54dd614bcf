"""A section as tables of plain text, for any format to render."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from dpbench.described import Figure, described
from dpbench.leaderboard.candidates import PRIMARY, Candidate, Target
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.starts import gains
from dpbench.leaderboard.view import SHORT, View
from dpbench.leaderboard.words import (
    CONTROLS,
    heading,
    interval_text,
    number,
    ratio_text,
    significant,
)
from dpbench.results import CONTROL, Privacy, Result

__all__ = [
    "Column",
    "Figures",
    "Table",
    "absence",
    "best_tables",
    "control_line",
    "control_table",
    "named_controls",
    "ruled",
    "setting_column",
    "short_table",
    "trust_text",
]

MISSING = "–"
COLLAPSED = "†"
#: What a cell shows when no candidate of it can be ranked: the gravest status there is.
GRAVITY = ("over-budget", "diverged", "failed", "skipped")


@dataclass(frozen=True)
class Column:
    """A heading; columns of equal ``group`` stand under one common heading.

    ``short`` is the heading where width is scarce.
    """

    title: str
    group: str = ""
    left: bool = False
    short: str = ""


@dataclass
class Table:
    """Rows of text. The first ``keys`` columns name a row; ``bold`` holds (row, column).

    ``breaks`` holds rows after which a rule is drawn.
    """

    name: str
    title: str
    columns: list[Column]
    rows: list[list[str]] = field(default_factory=list)
    keys: int = 1
    bold: set[tuple[int, int]] = field(default_factory=set)
    breaks: set[int] = field(default_factory=set)


class Figures:
    """Prints figures of one section, each with its metric's digits and heading."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.known = described().figures

    def column(self, key: str) -> Figure:
        return self.known.get(key, Figure())

    def title(self, key: str) -> str:
        title = self.column(key).title or key
        return heading(title, self.section.protocol) if key in ("fid", "is", "kid") else title

    def short(self, key: str) -> str:
        """Return the heading without the evaluator, for where it is said once."""
        return self.column(key).title or key

    def text(self, candidate: Candidate, key: str, counted: bool = True) -> str:
        """Print mean and spread; ``counted`` adds an unusual number of seeds."""
        figure = candidate.figure(key)
        usual = self.section.usual_seeds if counted or figure is None else figure.count
        return interval_text(figure, self.column(key).digits, usual)

    def plain(self, value: float | None, key: str) -> str:
        return MISSING if value is None else number(value, self.column(key).digits)

    def ratio(self, value: float | None) -> str:
        public = self.section.public_fid
        return MISSING if value is None or not public else ratio_text(value / public)

    def extra(self) -> list[str]:
        """Return the figures besides FID and the spread of IS, in the order of the registry."""
        present = {k for r in (*self.section.trials, *self.section.controls) for k in r.metrics}
        rest = present - {"fid", "is_std"}
        return [k for k in self.known if k in rest] + sorted(rest - set(self.known))


def best_tables(section: Section) -> list[Table]:
    """Return the tables of the best clip per method and target, and of the controls."""
    figures = Figures(section)
    scores, starts = _scores(section, figures), _starts(section, figures)
    tables = [scores, starts, control_table(section, figures)]
    tables += [_chosen(section), _further(section, figures), _further_controls(section, figures)]
    return [table for table in tables if table.rows]


def _scores(section: Section, figures: Figures) -> Table:
    columns = [Column("method", left=True)]
    for target in section.targets:
        group = section.target_text(target)
        columns += [
            Column("#", group),
            Column(figures.title("fid"), group),
            Column("/ public", group, short="/public"),
            Column(figures.title("is"), group, short="IS"),
        ]
    table = Table("scores", "Best clip per method", columns)
    ranks = {target: section.ranks(target) for target in section.targets}
    for row, method in enumerate(section.by_rank()):
        cells = [method]
        for target in section.targets:
            rank = ranks[target].get(method, MISSING)
            if rank.rstrip("=?") == "1":
                table.bold.add((row, len(cells) + 1))
            best = section.chosen(method, target)
            mark = COLLAPSED if best and best.collapsed else ""
            cells += [rank + mark, *_score_cells(section, figures, method, target)]
        table.rows.append(cells)
    return table


def _score_cells(section: Section, figures: Figures, method: str, target: Target) -> list[str]:
    best = section.chosen(method, target)
    if best is None:
        return [absence(section, method, target), MISSING, MISSING]
    fid = best.figure(PRIMARY)
    score = best.figure("is")
    ratio = figures.ratio(fid.mean if fid else None)
    return [figures.text(best, "fid"), ratio, figures.plain(score.mean if score else None, "is")]


def short_table(section: Section, view: View = SHORT) -> Table:
    """Return methods by target, best first: rank and the figures of ``view``, nothing else."""
    figures, targets = Figures(section), view.among(section)
    columns = [Column("method", left=True)]
    for target in targets:
        group = section.target_text(target)
        columns.append(Column("#", group))
        columns += [Column(figures.title(k), group, short=figures.short(k)) for k in view.metrics]
    named = ", ".join(figures.title(key) for key in view.metrics)
    table = Table("short", named, columns)
    ranks = [section.ranks(target) for target in targets]
    for row, method in enumerate(view.order(section)):
        cells = [method]
        for target, labels in zip(targets, ranks, strict=True):
            if labels.get(method, "").rstrip("=?") == "1" and PRIMARY in view.metrics:
                table.bold.add((row, len(cells) + 1 + view.metrics.index(PRIMARY)))
            cells += _short_cells(section, figures, view, method, target, labels.get(method))
        table.rows.append(cells)
    return table


def _short_cells(
    section: Section, figures: Figures, view: View, method: str, target: Target, rank: str | None
) -> list[str]:
    best = section.chosen(method, target)
    if best is None:
        return [MISSING, absence(section, method, target), *[MISSING] * (len(view.metrics) - 1)]
    cells = [(rank or MISSING) + (COLLAPSED if best.collapsed else "")]
    for key in view.metrics:
        figure = best.figure(key)
        mean = figures.plain(figure.mean if figure else None, key)
        cells.append(figures.text(best, key) if view.spread and key == PRIMARY else mean)
    return cells


def absence(section: Section, method: str, target: Target) -> str:
    """Return what stands where a method has no figure at a target: the gravest status."""
    if found := section.distrust(method, target):
        return found[0]
    statuses = {status for c in section.among(method, target) for status in c.statuses}
    reason = next((status for status in GRAVITY if status in statuses), "")
    return reason or ("no FID" if statuses else MISSING)


def _starts(section: Section, figures: Figures) -> Table:
    titles = [figures.title("fid"), "control's", "difference", "95% interval", "DP-SGD is"]
    columns = [Column(title, left=True) for title in ("target", "method", "beside")]
    columns += map(Column, titles)
    table = Table("starts", "What DP-SGD adds to its start", columns, keys=3)
    for gain in gains(section):
        low, high = gain.difference.low, gain.difference.high
        interval = MISSING if low is None or high is None else f"{low:+.1f} to {high:+.1f}"
        figure = (gain.score.mean, gain.control_score.mean)
        table.rows.append(
            [
                section.target_text(gain.target),
                gain.method,
                gain.control,
                *(figures.plain(value, "fid") for value in figure),
                f"{gain.difference.mean:+.1f}",
                interval,
                gain.verdict,
            ]
        )
    return ruled(table)


def control_table(section: Section, figures: Figures) -> Table:
    columns = [
        Column("control", left=True),
        Column("through", left=True),
        Column(figures.title("fid")),
        Column("/ public", short="/public"),
        Column(figures.title("is"), short="IS"),
        Column("what it is", left=True),
    ]
    table = Table("controls", "Controls", columns, keys=2)
    for name, through, control in named_controls(section):
        fid = control.metrics.get("fid")
        shown = control.status if fid is None else figures.plain(fid, "fid")
        rest = [figures.ratio(fid), figures.plain(control.metrics.get("is"), "is")]
        table.rows.append([name, through, shown, *rest, CONTROLS.get(name, "")])
    return table


def control_line(section: Section, view: View = SHORT) -> str:
    """Return a figure of each kind of control in one line; of several, the least and the most.

    FID where ``view`` has it, else the first of its figures that controls have.
    """
    there = {key for control in section.controls for key in control.metrics}
    shown = [PRIMARY] if PRIMARY in view.metrics else [k for k in view.metrics if k in there]
    key = (shown or [PRIMARY])[0]
    found: dict[str, list[float]] = {}
    for name, _, control in named_controls(section):
        if (value := control.metrics.get(key)) is not None:
            found.setdefault(name, []).append(value)
    said = []
    for name, values in found.items():
        ends = dict.fromkeys(significant(value) for value in (min(values), max(values)))
        said.append(f"{name} {'–'.join(ends)}")
    of = "" if view.metrics[0] == PRIMARY else f" ({Figures(section).title(key)})"
    return f"controls{of}: {', '.join(said)}" if said else ""


def named_controls(section: Section) -> list[tuple[str, str, Result]]:
    """Return name, public model and extractor, and result of each control, in reading order."""
    order = list(CONTROLS)
    found = [
        (
            control.method.removeprefix(CONTROL),
            "-".join(filter(None, (control.public, control.extractor))) or MISSING,
            control,
        )
        for control in section.controls
    ]
    return sorted(
        found,
        key=lambda row: (order.index(row[0]) if row[0] in order else len(order), row[0], row[1]),
    )


def _chosen(section: Section) -> Table:
    titles = ["tried", "seeds", "ε claimed", "ε spent", "ε with selection", "ε audited"]
    table = Table(
        "chosen",
        "The chosen trials and what they cost",
        [
            Column("target", left=True),
            Column("method", left=True),
            setting_column(section),
            *map(Column, titles),
            Column("trust", left=True),
        ],
        keys=2,
    )
    for target, method, best in _chosen_of(section):
        figures = (best.claimed, best.spent, section.with_selection(best))
        table.rows.append(
            [
                section.target_text(target),
                method,
                best.setting or MISSING,
                str(len(section.among(method, target))),
                str(len(best.seeds(PRIMARY))),
                *(MISSING if figure is None else significant(figure) for figure in figures),
                MISSING if best.audited is None else f"≥ {significant(best.audited)}",
                trust_text(best),
            ]
        )
    return ruled(table)


def _further(section: Section, figures: Figures) -> Table:
    keys = figures.extra()
    columns = [Column("target", left=True), Column("method", left=True)]
    columns += [Column(figures.title(key)) for key in keys]
    table = Table("further", "Further figures of the chosen trials", columns, keys=2)
    if not keys:
        return table
    for target, method, best in _chosen_of(section):
        row = [figures.text(best, key) for key in keys]
        table.rows.append([section.target_text(target), method, *row])
    return ruled(table)


def _further_controls(section: Section, figures: Figures) -> Table:
    keys = figures.extra()
    columns = [Column("control", left=True), Column("through", left=True)]
    columns += [Column(figures.title(key)) for key in keys]
    table = Table("further-controls", "Further figures of the controls", columns, keys=2)
    for name, through, control in named_controls(section) if keys else ():
        row = [figures.plain(control.metrics.get(key), key) for key in keys]
        table.rows.append([name, through, *row])
    return table


def setting_column(section: Section) -> Column:
    """Head :attr:`Candidate.setting`, which is a clip alone where nothing else was swept."""
    swept = any(candidate.axes for candidate in section.candidates)
    return Column("setting" if swept else "clip", left=True)


def _chosen_of(section: Section) -> Iterator[tuple[Target, str, Candidate]]:
    for target in section.targets:
        for method in section.methods:
            if best := section.chosen(method, target):
                yield target, method, best


def ruled(table: Table) -> Table:
    """Draw a rule wherever the first column changes."""
    firsts = [row[0] for row in table.rows]
    table.breaks = {row for row, (a, b) in enumerate(pairwise(firsts)) if a != b}
    return table


def trust_text(candidate: Candidate) -> str:
    """Return what stands behind the trials' epsilon: see :func:`_trust`."""
    words = sorted({_trust(r.privacy) for r in candidate.results if r.privacy}, reverse=True)
    return ", ".join(words) or MISSING


def _trust(privacy: Privacy) -> str:
    """Say who accounts: the harness (``ledger``), checked by replay (``replayed``), or itself.

    Replay plays back releases of the harness; of self-declared ones it says nothing.
    Where it was tried and could say nothing, that is said.
    """
    trust, verdict = privacy.ledger.trust, privacy.replay and privacy.replay.verdict
    if verdict == "not-replayed":
        return f"{trust} (not replayed)"
    return "replayed" if verdict == "passed" and trust == "ledger" else trust

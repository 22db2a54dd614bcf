"""A figure over epsilon, one line a method."""

from __future__ import annotations

import math

from dpbench.leaderboard.charts.axis import Axis, around
from dpbench.leaderboard.charts.figures import chosen_over_epsilon, described, row_id
from dpbench.leaderboard.charts.plot import APART, Level, Point, Series, xy_plot
from dpbench.leaderboard.charts.rows import Dot, Panel, row_plot
from dpbench.leaderboard.charts.style import method_styles
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import Figures, named_controls
from dpbench.leaderboard.words import significant

__all__ = ["over_epsilon"]

#: A control this many times below everything else is named, not drawn to scale.
FAR = 4.0
WORDS = {
    "real": "real images",
    "public-images": "public images",
    "reconstruction": "reconstruction",
    "public-prior": "public prior",
}


def over_epsilon(section: Section, key: str) -> str | None:
    """Draw the figure ``key`` of every method's chosen candidates, with 95% intervals.

    With one epsilon there is no axis of it: methods stand in rows. ``None`` where there
    is nothing to draw.
    """
    series = {method: _points(section, method, key) for method in section.methods}
    shown = {method: points for method, points in series.items() if any(points)}
    if not shown:
        return None
    if len(section.targets) == 1:
        return _rows(section, key, {m: p for m, (p, *_) in shown.items() if p})
    return _lines(section, key, shown)


def _lines(section: Section, key: str, series: dict[str, list[Point | None]]) -> str:
    figures, styles = Figures(section), method_styles(section)
    points = [point for line in series.values() for point in line if point]
    finite = sorted({p.x for p in points if math.isfinite(p.x)}) or [1.0]
    x = Axis(
        finite[0] / 1.4,
        finite[-1] * 1.4,
        log=True,
        marks=tuple(finite),
        infinity=any(math.isinf(p.x) for p in points),
    )
    log = figures.column(key).better == "lower" and all(p.y > 0 for p in points)
    floor = min(p.y for p in points) / FAR if log else -math.inf
    levels = _levels(section, key, floor)
    ends = [end for p in points for end in (p.y, p.low or p.y, p.high or p.y)]
    bounds = [bound for level in levels for bound in (level.low, level.high)]
    y = around([end for end in (*ends, *bounds) if end >= floor], log)
    title = figures.title(key) + (", log scale" if log else "")
    return xy_plot(
        _label(section, figures, key, len(series)),
        [
            Series(m, styles[m], tuple(line), APART * (number - (len(series) - 1) / 2))
            for number, (m, line) in enumerate(series.items())
        ],
        (x, "ε (log scale; less private to the right)"),
        (y, title),
        levels,
    )


def _rows(section: Section, key: str, points: dict[str, Point]) -> str:
    figures = Figures(section)
    sign = 1 if figures.column(key).better == "lower" else -1
    names = sorted(points, key=lambda method: sign * points[method].y)
    dots = tuple(
        Dot(name, p.y, p.label, p.row, None, p.low, p.high)
        for name, p in ((name, points[name]) for name in names)
    )
    log = sign == 1 and all(dot.value > 0 for dot in dots)
    ends = [end for d in dots for end in (d.value, d.low or d.value, d.high or d.value)]
    least = min(dot.value for dot in dots)
    axis = around([end for end in ends if not log or end > least / 2], log)
    panel = Panel(section.target_text(section.targets[0]), axis, dots)
    title = figures.title(key) + (", log scale" if log else "")
    return row_plot(_label(section, figures, key, len(points)), names, [panel], title)


def _label(section: Section, figures: Figures, key: str, count: int) -> str:
    methods = f"{count} method{'' if count == 1 else 's'}"
    return f"{figures.title(key)} over ε of {methods} on {section.dataset}; the tables say the same"


def _points(section: Section, method: str, key: str) -> list[Point | None]:
    figures = Figures(section)
    found: list[Point | None] = []
    for epsilon, best in chosen_over_epsilon(section, method):
        figure = best.figure(key) if best else None
        if best is None or figure is None:
            found.append(None)
            continue
        label = described(figures, best, key, figure)
        ends = (figure.low, figure.high)
        found.append(Point(epsilon, figure.mean, label, row_id(best), *ends, hollow=best.collapsed))
    return found


def _levels(section: Section, key: str, floor: float) -> list[Level]:
    """Return the controls as bands; one that lies wholly below ``floor`` says where it is."""
    groups: dict[str, list[float]] = {}
    for name, _, control in named_controls(section):
        if (figure := control.metrics.get(key)) is not None and math.isfinite(figure):
            groups.setdefault(name, []).append(figure)
    return [_level(WORDS.get(name, name), figures, floor) for name, figures in groups.items()]


def _level(name: str, figures: list[float], floor: float) -> Level:
    most = max(figures)
    return Level(f"{name} {significant(most, 2)} ↓" if most < floor else name, min(figures), most)

"""Plots of points over two axes: one series a method."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from dpbench.leaderboard.charts.axis import Axis
from dpbench.leaderboard.charts.style import Style, marker
from dpbench.leaderboard.charts.svg import element, text

__all__ = ["Level", "Point", "Series", "drawing", "legend", "link", "xy_plot"]

WIDTH, HEIGHT = 640.0, 330.0
LEFT, TOP, RIGHT, BOTTOM = 54.0, 12.0, 536.0, 282.0
APART = 2.2  # pixels between methods at one value
LINE = 17.0
LETTER = 6.6


@dataclass(frozen=True)
class Point:
    """A figure with its interval; ``row`` is the id of the table row that says the same."""

    x: float
    y: float
    label: str
    row: str
    low: float | None = None
    high: float | None = None
    hollow: bool = False
    radius: float = 4.5


@dataclass(frozen=True)
class Series:
    """The points of one method in order; ``None`` breaks the line.

    ``shift`` moves it sideways by pixels, so that bars of equal x can be told apart.
    """

    name: str
    style: Style
    points: tuple[Point | None, ...]
    shift: float = 0.0


@dataclass(frozen=True)
class Level:
    """A band across the plot, from the least to the greatest figure of a control."""

    name: str
    low: float
    high: float


def xy_plot(
    label: str,
    series: Sequence[Series],
    x: tuple[Axis, str],
    y: tuple[Axis, str],
    levels: Sequence[Level] = (),
) -> str:
    """Draw ``series``; an axis comes with its title, and ``label`` says what is seen."""
    shown = [one for one in series if any(one.points)]
    names, height = legend([(s.name, s.style) for s in shown], HEIGHT + 6)
    parts = [*_grid(x, y), *_levels(y[0], levels), *(_series(s, x[0], y[0]) for s in shown), names]
    return drawing(label, parts, WIDTH, height)


def drawing(label: str, parts: Sequence[str], width: float, height: float) -> str:
    """Return one SVG that says of itself what it shows."""
    return element(
        "svg",
        *parts,
        class_="plot",
        viewBox=f"0 0 {width:g} {height:g}",
        role="group",
        aria_label=label,
    )


def link(row: str, label: str, *shapes: str) -> str:
    """Return ``shapes`` as a link to a table's row, with a tip; keys go by the table."""
    title = element("title", escape(label, quote=False))
    return element("a", title, *shapes, href=f"#{row}", tabindex="-1")


def legend(names: Sequence[tuple[str, Style]], top: float) -> tuple[str, float]:
    """Return names beside their markers, in columns, and where they end."""
    longest = max((len(name) for name, _ in names), default=1)
    column = longest * LETTER + 46
    across = max(int((WIDTH - LEFT) // column), 1)
    items = []
    for number, (name, style) in enumerate(names):
        x, y = LEFT + column * (number % across), top + LINE * (number // across)
        items.append(_named(name, style, x, y))
    return "".join(items), top + LINE * math.ceil(len(names) / across)


def _named(name: str, style: Style, x: float, y: float) -> str:
    return element(
        "g",
        element("path", d=f"M{x:g} {y:g}h26", stroke_dasharray=style.dash, class_="line"),
        marker(style.shape, x + 13, y),
        text(name, x + 33, y + 4),
        class_=f"series {style.css}",
        data_m=name,
    )


def _px(axis: Axis, value: float) -> float:
    return LEFT + (RIGHT - LEFT) * axis.at(value)


def _py(axis: Axis, value: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * axis.at(value)


def _grid(x: tuple[Axis, str], y: tuple[Axis, str]) -> Iterator[str]:
    """Yield rules, ticks and titles of both axes; ticks that would overprint are left out."""
    last = math.inf
    for place, mark in y[0].ticks:
        level = BOTTOM - (BOTTOM - TOP) * place
        yield element("path", d=f"M{LEFT:g} {level:.1f}H{RIGHT:g}", class_="rule")
        if last - level > 12:
            yield text(mark, LEFT - 7, level + 4, class_="end")
            last = level
    end = -math.inf
    for place, mark in x[0].ticks:
        at, half = LEFT + (RIGHT - LEFT) * place, len(mark) * LETTER / 2
        yield element("path", d=f"M{at:.1f} {BOTTOM:g}v5", class_="axis")
        if at - half > end + 4:
            yield text(mark, at, BOTTOM + 19, class_="mid")
            end = at + half
    yield element("path", d=f"M{LEFT:g} {BOTTOM:g}H{RIGHT:g}", class_="axis")
    yield text(x[1], (LEFT + RIGHT) / 2, BOTTOM + 38, class_="mid title")
    middle = (TOP + BOTTOM) / 2
    turn = f"rotate(-90 13 {middle:g})"
    yield text(y[1], 13, middle, class_="mid title", transform=turn)


def _levels(axis: Axis, levels: Sequence[Level]) -> Iterator[str]:
    """Yield grey bands, named at the right; names keep a line's distance."""
    floor = -math.inf
    for level in sorted(levels, key=lambda level: -level.high):
        top, bottom = _py(axis, level.high), _py(axis, level.low)
        size = bottom - top
        yield element("rect", x=LEFT, y=top, width=RIGHT - LEFT, height=size, class_="level")
        for edge in dict.fromkeys((top, bottom)):
            yield element("path", d=f"M{LEFT:g} {edge:.1f}H{RIGHT:g}", class_="edge")
        floor = max((top + bottom) / 2 + 4, floor + 13)
        yield text(level.name, RIGHT + 6, floor, class_="quiet")


def _series(series: Series, x: Axis, y: Axis) -> str:
    lines = []
    for joined, run in itertools.groupby(series.points, bool):
        if joined:
            places = (f"{_px(x, p.x) + series.shift:.1f} {_py(y, p.y):.1f}" for p in run if p)
            lines.append(f"M{'L'.join(places)}")
    path = element("path", d="".join(lines), stroke_dasharray=series.style.dash, class_="line")
    points = (_point(point, series, x, y) for point in series.points if point)
    return element("g", path, *points, class_=f"series {series.style.css}", data_m=series.name)


def _point(point: Point, series: Series, x: Axis, y: Axis) -> str:
    at, level = _px(x, point.x) + series.shift, _py(y, point.y)
    shapes = []
    if point.low is not None and point.high is not None:
        low, high = _py(y, point.low), _py(y, point.high)
        bar = f"M{at:.1f} {low:.1f}V{high:.1f}M{at - 3:.1f} {low:.1f}h6M{at - 3:.1f} {high:.1f}h6"
        shapes.append(element("path", d=bar, class_="bar"))
    hollow = "hollow" if point.hollow else None
    shapes.append(marker(series.style.shape, at, level, point.radius, class_=hollow))
    return link(point.row, point.label, *shapes)

"""Plots with one row a method: dots in panels side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dpbench.leaderboard.charts.axis import Axis
from dpbench.leaderboard.charts.plot import LETTER, LINE, drawing, link
from dpbench.leaderboard.charts.style import marker
from dpbench.leaderboard.charts.svg import element, text

__all__ = ["Dot", "Panel", "row_plot"]

WIDTH = 640.0
HEAD = 26.0
GAP = 18.0


@dataclass(frozen=True)
class Dot:
    """A figure of the row ``name``; ``kind`` is a number of the plot's key, where it has one."""

    name: str
    value: float
    label: str
    row: str
    kind: int | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """Dots over one axis, with a title above."""

    title: str
    axis: Axis
    dots: tuple[Dot, ...]


def row_plot(
    label: str, names: Sequence[str], panels: Sequence[Panel], title: str, kinds: Sequence[str] = ()
) -> str:
    """Draw ``panels`` beside each other over the same rows.

    ``title`` stands beneath the axes; ``kinds`` says what the markers are, by number.
    """
    left = max(map(len, names)) * LETTER + 14
    width = (WIDTH - left - GAP * len(panels)) / len(panels)
    bottom = HEAD + LINE * len(names)
    parts = [
        text(name, left - 8, HEAD + LINE * (number + 0.5) + 4, class_="end")
        for number, name in enumerate(names)
    ]
    for number, panel in enumerate(panels):
        parts += _panel(panel, names, left + (width + GAP) * number, width, bottom)
    parts.append(text(title, (left + WIDTH) / 2, bottom + 38, class_="mid title"))
    parts += _key(kinds, left, bottom + 62)
    return drawing(label, parts, WIDTH, bottom + (72 if kinds else 46))


def _panel(
    panel: Panel, names: Sequence[str], left: float, width: float, bottom: float
) -> Iterator[str]:
    yield text(panel.title, left + width / 2, HEAD - 10, class_="mid strong")
    for number in range(len(names)):
        level = HEAD + LINE * (number + 0.5)
        yield element("path", d=f"M{left:.1f} {level:.1f}h{width:.1f}", class_="rule")
    yield element("path", d=f"M{left:.1f} {bottom:g}h{width:.1f}", class_="axis")
    end = left - 20
    for place, mark in panel.axis.ticks:
        at, half = left + width * place, len(mark) * LETTER / 2
        yield element("path", d=f"M{at:.1f} {bottom:g}v4", class_="axis")
        if at - half > end + 4:
            yield text(mark, at, bottom + 18, class_="mid")
            end = at + half
    for dot in panel.dots:
        level = HEAD + LINE * (names.index(dot.name) + 0.5)
        yield _dot(dot, panel.axis, left, width, level)


def _dot(dot: Dot, axis: Axis, left: float, width: float, level: float) -> str:
    at = left + width * axis.at(dot.value)
    shapes = []
    if dot.low is not None and dot.high is not None:
        low, high = (left + width * axis.at(end) for end in (dot.low, dot.high))
        bar = f"M{low:.1f} {level:.1f}H{high:.1f}"
        shapes.append(element("path", d=bar, class_="bar"))
    shapes.append(_mark(dot.kind, at, level))
    inner = link(dot.row, dot.label, *shapes)
    return element("g", inner, class_=f"series c{dot.kind or 0}", data_m=dot.name)


def _mark(kind: int | None, at: float, level: float) -> str:
    """Draw a dot, or the marker of a kind: several may stand on one place and be seen."""
    if kind == 0:
        return element("path", d=f"M{at - 1:.1f} {level - 8:.1f}h2v16h-2Z")
    hollow = "hollow" if kind == 2 else None
    shape = 0 if kind is None else (0, 3, 0, 2)[kind % 4]
    return marker(shape, at, level, 6.0 if hollow else 4.0, class_=hollow)


def _key(kinds: Sequence[str], left: float, level: float) -> Iterator[str]:
    for number, kind in enumerate(kinds):
        shapes = _mark(number, left + 6, level - 4), text(kind, left + 17, level)
        yield element("g", *shapes, class_=f"series c{number}")
        left += len(kind) * LETTER + 30

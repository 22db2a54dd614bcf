"""How methods are told apart: by colour and by marker, in light and in dark."""

from __future__ import annotations

from dataclasses import dataclass

from dpbench.leaderboard.charts.svg import Attribute, element
from dpbench.leaderboard.sections import Section

__all__ = ["COLOURS", "Style", "marker", "method_styles"]

#: Each on white and on near-black: contrast of at least 3 with its ground.
COLOURS = (
    ("#0b67a8", "#5db2f0"),
    ("#c44900", "#ff9350"),
    ("#00795a", "#3ecf9f"),
    ("#a23b86", "#e78fcb"),
    ("#8c6400", "#e3b53c"),
    ("#5b4bc4", "#a79bff"),
    ("#0a7a8a", "#4fd0e0"),
    ("#b3123a", "#ff7d92"),
    ("#444444", "#d8d8d8"),
    ("#5f7000", "#b7cc4a"),
)
DASHES = (None, "6 3", "2 3", "8 3 2 3", "10 4", "4 2", "1 4", "6 2 1 2")
#: Outlines of markers around the origin, within a radius of one.
SHAPES = (
    "",  # a circle
    "M-.85-.85H.85V.85H-.85Z",
    "M0-1.1L1 .8H-1Z",
    "M0-1.2L1.2 0 0 1.2-1.2 0Z",
    "M0 1.1L1-.8H-1Z",
    "M-.4-1.1H.4V-.4H1.1V.4H.4V1.1H-.4V.4H-1.1V-.4H-.4Z",
    "M0-1.2L.35-.4 1.15-.4.5.1.75 1 0 .5-.75 1-.5.1-1.15-.4-.35-.4Z",
    "M-1-.6L-.5-1H.5L1-.6V.6L.5 1H-.5L-1 .6Z",
)


@dataclass(frozen=True)
class Style:
    """Numbers of a colour, of a marker and of a dash."""

    colour: int
    shape: int

    @property
    def css(self) -> str:
        return f"c{self.colour}"

    @property
    def dash(self) -> str | None:
        return DASHES[self.shape]


def method_styles(section: Section) -> dict[str, Style]:
    """Return styles by method, no two alike: colour by generator, marker by latents.

    Where there are more generators or latents than colours or markers, methods are counted.
    """
    parts = {
        r.method: (str(r.generator), (str(r.public), str(r.extractor))) for r in section.trials
    }
    generators = sorted({generator for generator, _ in parts.values()})
    latents = sorted({pair for _, pair in parts.values()})
    if len(generators) <= len(COLOURS) and len(latents) <= len(SHAPES):
        return {
            method: Style(generators.index(parts[method][0]), latents.index(parts[method][1]))
            for method in section.methods
        }
    return {
        method: Style(number % len(COLOURS), number // len(COLOURS) % len(SHAPES))
        for number, method in enumerate(section.methods)
    }


def marker(shape: int, x: float, y: float, radius: float = 4.5, **attributes: Attribute) -> str:
    """Return one marker with its middle at ``(x, y)``."""
    outline = SHAPES[shape]
    if not outline:
        return element("circle", cx=x, cy=y, r=radius, **attributes)
    place = f"translate({x:.1f} {y:.1f}) scale({radius:g})"
    return element("path", d=outline, transform=place, **attributes)

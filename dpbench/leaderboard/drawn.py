"""Plots of a board, for notebooks and figures of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dpbench.errors import DpbenchError, UnknownName
from dpbench.leaderboard.charts.heat import best_clips
from dpbench.leaderboard.charts.over_epsilon import over_epsilon
from dpbench.leaderboard.charts.scatter import cost_and_quality, fidelity_and_diversity
from dpbench.leaderboard.charts.shares import variance_shares
from dpbench.leaderboard.html.page import standalone
from dpbench.leaderboard.sections import Section

__all__ = ["PLOTS", "Plot", "draw"]

#: Plots that are not of one figure over epsilon.
PLOTS: dict[str, Callable[[Section], str | None]] = {
    "clips": best_clips,
    "cost": cost_and_quality,
    "fidelity": fidelity_and_diversity,
    "shares": variance_shares,
}


@dataclass(frozen=True)
class Plot:
    """A plot as SVG, which notebooks show by themselves."""

    svg: str

    def save(self, path: str | Path) -> None:
        """Write it to a file."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def _repr_svg_(self) -> str:
        return self.svg


def draw(name: str, section: Section) -> Plot:
    """Draw a figure over epsilon, or one of :data:`PLOTS`.

    Raises:
        UnknownName: ``name`` is neither.
        DpbenchError: there is nothing to draw.
    """
    known = {figure for result in section.trials for figure in result.metrics}
    if name not in PLOTS and name not in known:
        raise UnknownName("figure", name, {*PLOTS, *known})
    svg = PLOTS[name](section) if name in PLOTS else over_epsilon(section, name)
    if svg is None:
        raise DpbenchError(f"nothing to draw as {name!r} in {section.title}")
    return Plot(standalone(svg))

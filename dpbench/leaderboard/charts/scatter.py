"""One figure against another: fidelity and diversity, cost and quality."""

from __future__ import annotations

import math
from collections.abc import Callable

from dpbench.leaderboard.candidates import PRIMARY, Candidate
from dpbench.leaderboard.charts.axis import around
from dpbench.leaderboard.charts.figures import chosen_over_epsilon, row_id
from dpbench.leaderboard.charts.plot import Point, Series, xy_plot
from dpbench.leaderboard.charts.style import method_styles
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import Figures
from dpbench.leaderboard.words import duration, significant

__all__ = ["cost_and_quality", "fidelity_and_diversity", "seconds_of"]

Reading = Callable[[Candidate], float | None]
RADII = (5.5, 4.5, 3.5, 3.0)


def fidelity_and_diversity(section: Section) -> str | None:
    """Draw precision over recall; ``None`` where they were not computed."""
    return _scatter(
        section,
        ("recall", lambda c: _mean(c, "recall"), "recall: how much of the real images is covered"),
        ("precision", lambda c: _mean(c, "precision"), "precision: how real samples look"),
        log=False,
    )


def cost_and_quality(section: Section) -> str | None:
    """Draw FID over the time of training; ``None`` where no time was kept."""
    title = Figures(section).title(PRIMARY)
    return _scatter(
        section,
        ("training", seconds_of, "seconds of private training, mean over seeds (log scale)"),
        (title, lambda c: _mean(c, PRIMARY), f"{title}, log scale"),
        log=True,
    )


def seconds_of(candidate: Candidate) -> float | None:
    """Return the mean time that the private generator took, in seconds."""
    found = [r.seconds["generator"] for r in candidate.results if "generator" in r.seconds]
    return sum(found) / len(found) if found else None


def _mean(candidate: Candidate, key: str) -> float | None:
    figure = candidate.figure(key)
    return figure.mean if figure else None


def _scatter(
    section: Section, x: tuple[str, Reading, str], y: tuple[str, Reading, str], log: bool
) -> str | None:
    styles = method_styles(section)
    series = [
        Series(method, styles[method], _points(section, method, (x[0], x[1]), (y[0], y[1]), log))
        for method in section.methods
    ]
    points = [point for one in series for point in one.points if point]
    if not points:
        return None
    low = None if log else 0.0
    return xy_plot(
        f"{y[0]} against {x[0]} on {section.dataset}: a point for each method and ε",
        series,
        (around([p.x for p in points], log, low), x[2]),
        (around([p.y for p in points], log, low), y[2]),
    )


def _points(
    section: Section, method: str, x: tuple[str, Reading], y: tuple[str, Reading], log: bool
) -> tuple[Point | None, ...]:
    found: list[Point | None] = []
    chosen = list(reversed(chosen_over_epsilon(section, method)))
    for number, (epsilon, best) in enumerate(chosen):
        across, up = (x[1](best), y[1](best)) if best else (None, None)
        if best is None or across is None or up is None or (log and not min(across, up) > 0):
            continue
        said = duration(across) if x[0] == "training" else significant(across)
        label = f"{method} at ε = {significant(epsilon)}: {x[0]} {said}, {y[0]} {significant(up)}"
        radius = RADII[min(number, len(RADII) - 1)]
        if math.isfinite(across) and math.isfinite(up):
            point = Point(across, up, label, row_id(best), hollow=best.collapsed, radius=radius)
            found.append(point)
    return tuple(found)

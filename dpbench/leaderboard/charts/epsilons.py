"""Four epsilons of a chosen trial side by side: claimed, accounted, with selection, audited."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dpbench.leaderboard.candidates import Candidate, Target
from dpbench.leaderboard.charts.axis import Axis
from dpbench.leaderboard.charts.figures import row_id
from dpbench.leaderboard.charts.rows import Dot, Panel, row_plot
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.words import significant

__all__ = ["four_epsilons"]

KINDS = ("claimed", "accounted", "with selection", "audited, at least")
MOST_PANELS = 4


def four_epsilons(section: Section) -> str | None:
    """Draw what each private trial claims, spent, costs when chosen, and was shown to leak.

    Of many targets the last ones, which are the most private.
    """
    panels = []
    for target in [target for target in section.targets if target.private]:
        dots = tuple(dot for m in section.methods for dot in _dots(section, m, target))
        if dots:
            panels.append(Panel(section.target_text(target), _axis(dots), dots))
    if not panels:
        return None
    shown = panels[-MOST_PANELS:]
    used = {dot.name for panel in shown for dot in panel.dots}
    names = [method for method in section.methods if method in used]
    label = f"Four ε of chosen trials on {section.dataset}; the tables say the same"
    cut = f"; the last {len(shown)} of {len(panels)} targets" if len(shown) < len(panels) else ""
    return row_plot(label, names, shown, f"ε, log scale{cut}", KINDS)


def _dots(section: Section, method: str, target: Target) -> Iterator[Dot]:
    best = section.chosen(method, target)
    if best is None:
        return
    for kind, value in enumerate(_four(section, best)):
        if value is not None:
            label = f"{method}: ε {KINDS[kind]} {significant(value)}"
            yield Dot(method, value, label, row_id(best), kind)


def _four(section: Section, best: Candidate) -> tuple[float | None, ...]:
    return best.claimed, best.spent, section.with_selection(best), best.audited


def _axis(dots: tuple[Dot, ...]) -> Axis:
    finite = [dot.value for dot in dots if math.isfinite(dot.value) and dot.value > 0] or [1.0]
    return Axis(
        min(finite) / 1.5,
        max(finite) * 1.5,
        log=True,
        infinity=any(math.isinf(dot.value) for dot in dots),
        zero=any(dot.value <= 0 for dot in dots),
    )

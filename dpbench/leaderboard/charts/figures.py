"""What the plots of a section say of one candidate, and where its row is."""

from __future__ import annotations

import math

from dpbench.leaderboard.candidates import Candidate, Target
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import Figures
from dpbench.leaderboard.words import number
from dpbench.metrics.uncertainty import Interval

__all__ = ["chosen_over_epsilon", "described", "epsilon_of", "row_id"]


def row_id(candidate: Candidate) -> str:
    """Return the id of a candidate's row: the beginning of its first trial's key."""
    return f"t{candidate.results[0].key[:10]}"


def epsilon_of(target: Target, best: Candidate | None) -> float | None:
    """Return where a target stands on the axis: noise that is given, by what it came to."""
    if target.noise_multiplier is not None:
        return best.spent if best else None
    return math.inf if target.epsilon is None else target.epsilon


def chosen_over_epsilon(section: Section, method: str) -> list[tuple[float, Candidate | None]]:
    """Return a method's chosen candidates by epsilon; ``None`` where there is none."""
    found = []
    for target in section.targets:
        best = section.chosen(method, target)
        epsilon = epsilon_of(target, best)
        if epsilon is not None:
            found.append((epsilon, best))
    return sorted(found, key=lambda point: point[0])


def described(figures: Figures, candidate: Candidate, key: str, figure: Interval) -> str:
    """Return one figure in words: ``ae-enc-GAN at ε = 1: FID 76.0 (71.2 to 80.9)``."""
    digits = figures.column(key).digits
    said = f"{figures.title(key)} {number(figure.mean, digits)}"
    if figure.low is not None and figure.high is not None:
        said += f" ({number(figure.low, digits)} to {number(figure.high, digits)})"
    where = figures.section.target_text(candidate.target)
    return f"{candidate.method} at {where}: {said}"

"""Every clip of every method and target as a field of a map; the best clip is framed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dpbench.leaderboard.candidates import PRIMARY, Candidate, Target
from dpbench.leaderboard.charts.figures import row_id
from dpbench.leaderboard.charts.plot import LETTER, drawing, link
from dpbench.leaderboard.charts.svg import element, text
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import Figures
from dpbench.leaderboard.words import significant

__all__ = ["best_clips"]

WIDTH, HIGH, HEAD, GAP = 640.0, 22.0, 40.0, 14.0
#: Shades from the best of a row (5) to three times its figure and worse (0).
SHADES = 5
#: More fields beside each other cannot be read.
MOST_ACROSS = 30


def best_clips(section: Section) -> str | None:
    """Draw FID of each clip as a shade against the best of its method and target.

    ``None`` where no target has several clips, or there are too many to read.
    """
    clips = {target: _clips(section, target) for target in section.targets}
    swept = [target for target in section.targets if len(clips[target]) > 1]
    across = sum(len(clips[target]) for target in swept)
    methods = [m for m in section.methods if any(section.chosen(m, t) for t in swept)]
    if not methods or across > MOST_ACROSS:
        return None
    left = max(map(len, methods)) * LETTER + 14
    wide = min((WIDTH - left - GAP * len(swept)) / across, 46.0)
    parts = [
        text(method, left - 8, HEAD + HIGH * (number + 0.5) + 4, class_="end")
        for number, method in enumerate(methods)
    ]
    for target in swept:
        parts += _block(section, target, methods, left, wide)
        left += wide * len(clips[target]) + GAP
    bottom = HEAD + HIGH * len(methods)
    label = f"FID by clip on {section.dataset}: the darker, the nearer to the best clip of its row"
    return drawing(label, parts, WIDTH, bottom + 8)


def _clips(section: Section, target: Target) -> list[float]:
    return sorted({c.clip for c in section.candidates if c.target == target and c.clip})


def _block(
    section: Section, target: Target, methods: Sequence[str], left: float, wide: float
) -> Iterator[str]:
    clips = _clips(section, target)
    middle = left + wide * len(clips) / 2
    yield text(section.target_text(target), middle, 12, class_="mid strong")
    for number, clip in enumerate(clips):
        yield text(f"{clip:g}", left + wide * (number + 0.5), HEAD - 9, class_="mid quiet")
    for row, method in enumerate(methods):
        best = section.chosen(method, target)
        for number, clip in enumerate(clips):
            candidate = _at_clip(section, method, target, clip)
            if candidate is not None:
                x, y = left + wide * number, HEAD + HIGH * row
                yield _field(section, candidate, best, x, y, wide)


def _at_clip(section: Section, method: str, target: Target, clip: float) -> Candidate | None:
    """Return the best of a clip's candidates: other axes may have been swept too."""
    found = [c for c in section.among(method, target) if c.clip == clip and c.rankable]
    return min(found, key=lambda c: c.worth, default=None)


def _field(
    section: Section, candidate: Candidate, best: Candidate | None, x: float, y: float, wide: float
) -> str:
    figure = candidate.figure(PRIMARY)
    least = best.figure(PRIMARY) if best else None
    mean = figure.mean if figure else math.inf
    ratio = mean / least.mean if least and least.mean > 0 else 1.0
    shade = round(SHADES * (1 - min(max(math.log(ratio) / math.log(3), 0.0), 1.0)))
    chosen = candidate is best or (best is not None and candidate.clip == best.clip)
    kind = f"heat h{shade}" + (" best" if chosen else "")
    shape = element("rect", x=x + 1, y=y + 1, width=wide - 2, height=HIGH - 2, class_=kind)
    figure_text = text(significant(mean), x + wide / 2, y + HIGH / 2 + 4, class_="mid")
    title = Figures(section).title(PRIMARY)
    label = f"{candidate.method}, clip {candidate.clip:g}: {title} {significant(mean)}"
    return link(row_id(candidate), label, shape, figure_text)

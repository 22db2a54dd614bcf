"""What the spread of scores comes from: a bar for each factor."""

from __future__ import annotations

from collections.abc import Sequence

from dpbench.analysis.explain import Share, explain
from dpbench.leaderboard.charts.plot import LETTER, LINE, drawing
from dpbench.leaderboard.charts.svg import element, text
from dpbench.leaderboard.sections import Section

__all__ = ["draw_shares", "variance_shares"]

WIDTH, TOP, ROOM = 640.0, 8.0, 52.0


def variance_shares(section: Section) -> str | None:
    """Draw each factor's share of the variance of log FID; ``None`` where nothing varies."""
    return draw_shares(explain(section).shares)


def draw_shares(shares: Sequence[Share]) -> str | None:
    """Draw shares that are known already."""
    if not shares:
        return None
    left = max(len(share.factor) for share in shares) * LETTER + 14
    most = max(*(share.share for share in shares), 1e-9)
    parts = []
    for number, share in enumerate(shares):
        level = TOP + (LINE + 5) * number
        wide = (WIDTH - left - ROOM) * max(share.share, 0.0) / most
        parts += [
            text(share.factor, left - 8, level + 13, class_="end"),
            element("rect", x=left, y=level, width=max(wide, 1.0), height=LINE, class_="share"),
            text(f"{share.share:.1%}", left + wide + 6, level + 13),
        ]
    bottom = TOP + (LINE + 5) * len(shares)
    said = ", ".join(f"{share.factor} {share.share:.1%}" for share in shares)
    title = "share of the variance of log FID, all trials of this part"
    parts.append(text(title, (left + WIDTH - ROOM) / 2, bottom + 16, class_="mid title"))
    return drawing(f"Share of the variance of log FID: {said}", parts, WIDTH, bottom + 24)

"""The shares of variance as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from dpbench.analysis.explain import Explanation

__all__ = ["draw_shares"]


@rc_context({"text.parse_math": False})  # names are no formulas
def draw_shares(found: Sequence[Explanation], path: Path) -> None:
    """Draw one panel of bars for each explanation that has shares."""
    drawn = [explanation for explanation in found if explanation.shares]
    figure = Figure(figsize=(7, 0.6 + 2.4 * max(len(drawn), 1)), layout="constrained")
    panels = figure.subplots(max(len(drawn), 1), 1, squeeze=False)[:, 0]
    for axes, explanation in zip(panels, drawn, strict=False):
        shares = explanation.shares[::-1]
        axes.barh([s.factor for s in shares], [100 * s.share for s in shares], color="#4477aa")
        axes.set_title(explanation.title, fontsize=9)
        axes.set_xlabel("share of the variance of log FID, %", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)

"""Samples of a section on one sheet, for the short page: methods by targets."""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageChops

from dpbench.leaderboard.pictures import control_preview, mosaic, preview, score_text
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import absence
from dpbench.store import Store

__all__ = ["png", "samples"]

ROWS, COLUMNS = 2, 5
DPI = 110


@rc_context({"text.parse_math": False})  # names are no formulas
def samples(section: Section, store: Store) -> Figure | None:
    """Draw samples of the best clip (its first seed), methods by targets; real images on top."""
    cells: dict[tuple[int, int], tuple[Any, str]] = {}
    for row, method in enumerate(section.by_rank()):
        for column, target in enumerate(section.targets):
            best = section.chosen(method, target)
            images = preview(store, best.first) if best else None
            if best is not None and images is not None:
                picture = mosaic(images[: ROWS * COLUMNS], COLUMNS)
                cells[row, column] = picture, score_text(section, best)
    if not cells:
        return None
    down, across = len(section.methods), len(section.targets)
    real = None if section.secure else control_preview(section, store, "real")
    heights = [*([1.0] if real is not None else []), *[1.0] * down]
    figure = Figure(figsize=(2.9 * across + 1.2, 1.42 * len(heights) + 0.6), layout="constrained")
    grid = figure.add_gridspec(len(heights), across, height_ratios=heights)
    first = 0
    if real is not None:
        axes = figure.add_subplot(grid[0, :])
        columns = (COLUMNS + 1) * across - 1
        _show(axes, mosaic(real[: ROWS * columns], columns))
        axes.set_title("real held-out images", fontsize=10)
        first = 1
    for row, method in enumerate(section.by_rank()):
        for column, target in enumerate(section.targets):
            axes = figure.add_subplot(grid[first + row, column])
            missing = None, absence(section, method, target)
            picture, below = cells.get((row, column), missing)
            _show(axes, picture)
            axes.set_xlabel(below, fontsize=8.5, labelpad=2)
            if row == 0:
                axes.set_title(section.target_text(target), fontsize=11)
            if column == 0:
                axes.set_ylabel(method, fontsize=10, rotation=0, ha="right", va="center")
    return figure


def png(figure: Figure) -> bytes:
    """Return ``figure`` as PNG, grey where all of it is: a third of the size."""
    file = io.BytesIO()
    figure.savefig(file, dpi=DPI, facecolor="white", metadata={"Software": None})
    image = Image.open(file).convert("RGB")
    red, green, blue = image.split()
    grey = not (ImageChops.difference(red, green).getbbox()
                or ImageChops.difference(red, blue).getbbox())  # fmt: skip
    found = io.BytesIO()
    (red if grey else image).save(found, "PNG", optimize=True)
    return found.getvalue()


def _show(axes: Axes, picture: Any | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if picture is None:
        axes.set_facecolor("#f4f4f4")
    else:
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)

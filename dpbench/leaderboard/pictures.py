"""Grids of images: samples, reconstructions, samples during training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dpbench.leaderboard.sections import PRIMARY, Candidate, Section, Target
from dpbench.leaderboard.tables import named_controls
from dpbench.leaderboard.words import heading, number
from dpbench.results import Result
from dpbench.store import Artifact, CorruptArtifact, Store

__all__ = ["mosaic", "neighbours", "reconstructions", "samples", "trajectories"]

ROWS, COLUMNS = 2, 5
SHOWN = 16
GAP = 2


def mosaic(images: Tensor, columns: int) -> Any:
    """Lay out ``uint8`` images ``[N, C, H, W]`` in rows of ``columns``, with white gaps.

    Returns an array ``[h, w]`` (grey) or ``[h, w, 3]``.
    """
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    canvas = np.full(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, np.uint8
    )
    for index, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = (index // columns) * (height + GAP), (index % columns) * (width + GAP)
        canvas[top : top + height, left : left + width] = image
    return canvas[..., 0] if channels == 1 else canvas[..., :3]


def samples(section: Section, store: Store) -> Figure | None:
    """Draw samples of the best clip (its first seed), methods by targets; real images on top."""
    cells: dict[tuple[int, int], tuple[Any, str]] = {}
    for row, method in enumerate(section.methods):
        for column, target in enumerate(section.targets):
            best = section.chosen(method, target)
            images = _preview(store, best.first) if best else None
            if best is not None and images is not None:
                picture = mosaic(images[: ROWS * COLUMNS], COLUMNS)
                cells[row, column] = picture, _score(section, best)
    if not cells:
        return None
    down, across = len(section.methods), len(section.targets)
    real = None if section.secure else _control_preview(section, store, "real")
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
    for row, method in enumerate(section.methods):
        for column, target in enumerate(section.targets):
            axes = figure.add_subplot(grid[first + row, column])
            missing = None, _absence(section, method, target)
            picture, below = cells.get((row, column), missing)
            _show(axes, picture)
            axes.set_xlabel(below, fontsize=8.5, labelpad=2)
            if row == 0:
                axes.set_title(section.target_text(target), fontsize=11)
            if column == 0:
                axes.set_ylabel(method, fontsize=10, rotation=0, ha="right", va="center")
    figure.suptitle(f"Samples, best clip: {section.title}", fontsize=12)
    return figure


def reconstructions(section: Section, store: Store) -> Figure | None:
    """Draw private images above what their latents decode to, per public model and extractor."""
    rows = list(_reconstructed(section, store))
    if not rows:
        return None
    figure = Figure(figsize=(9.5, 1.25 * len(rows) + 0.5), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False)
    for axes, (through, shown, decoded, error) in zip(panels[:, 0], rows, strict=True):
        count = min(SHOWN, len(shown))
        _show(axes, np.concatenate([mosaic(part[:count], count) for part in (shown, decoded)]))
        axes.set_ylabel(through, fontsize=10, rotation=0, ha="right", va="center")
        axes.set_xlabel(error, fontsize=8.5, labelpad=2)
    figure.suptitle(
        f"Private images (above) and their reconstructions (below): {section.dataset}", fontsize=12
    )
    return figure


def trajectories(section: Section, store: Store) -> Figure | None:
    """Draw samples during training: one panel per method, steps from top to bottom."""
    panels = []
    for method in section.methods:
        found = next(_snapshots(section, store, method), None)
        if found is not None:
            panels.append((method, *found))
    if not panels:
        return None
    across = min(len(panels), 3)
    down = math.ceil(len(panels) / across)
    tallest = max(len(steps) for _, _, _, steps in panels)
    size = (3.9 * across, (0.36 * tallest + 0.55) * down + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    for number_of, (method, target, images, steps) in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, number_of)
        flat = images.flatten(0, 1)
        _show(axes, mosaic(flat, images.shape[1]))
        height = images.shape[3] + GAP
        axes.set_yticks([height * (i + 0.5) for i in range(len(steps))], [str(s) for s in steps])
        axes.tick_params(left=False, labelsize=8.5)
        axes.set_title(f"{method}, {target}", fontsize=10)
    figure.suptitle(f"Samples during training (step at the left): {section.title}", fontsize=12)
    return figure


def neighbours(section: Section, store: Store) -> Figure | None:
    """Draw, per method, the samples nearest to private images, and those images beside them."""
    panels = []
    for method in section.methods:
        found = next(_neighbours(section, store, method), None)
        if found is not None:
            panels.append((method, *found))
    if not panels:
        return None
    across = min(len(panels), 6)
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(1.75 * across, 2.9 * down + 0.6), layout="constrained")
    for number_of, (method, target, picture) in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, number_of)
        image = picture.permute(1, 2, 0).numpy()
        _show(axes, image[..., 0] if image.shape[2] == 1 else image)
        axes.set_title(f"{method}\n{target}", fontsize=9)
    figure.suptitle("Samples (left) and the private images nearest to them", fontsize=11)
    return figure


def _neighbours(section: Section, store: Store, method: str) -> Iterator[tuple[str, Tensor]]:
    """Yield target and picture, the least private targets first: there memory shows."""
    for target in section.targets:
        best = section.chosen(method, target)
        if best is None:
            continue
        artifact = _load(store, "score", best.first.artifacts.get("score.leakage"))
        if artifact and "picture" in artifact.tensors:
            yield section.target_text(target), artifact.tensors["picture"]


def _show(axes: Axes, picture: Any | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if picture is None:
        axes.set_facecolor("#f4f4f4")
    else:
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)


def _score(section: Section, candidate: Candidate) -> str:
    fid = candidate.seeds(PRIMARY).get(candidate.first.seed or 0)
    if fid is None:
        return "not scored"
    text = f"{heading('FID', section.protocol)} {number(fid)}"
    return f"{text}, collapsed" if candidate.collapsed else text


def _absence(section: Section, method: str, target: Target) -> str:
    statuses = {s for c in section.among(method, target) for s in c.statuses if s != "ok"}
    return ", ".join(sorted(statuses)) or "no samples"


def _load(store: Store, stage: str, key: str | None) -> Artifact | None:
    if not key or not store.has(stage, key):
        return None
    try:
        return store.load(stage, key)
    except CorruptArtifact:
        return None


def _preview(store: Store, result: Result) -> Tensor | None:
    artifact = _load(store, "features", result.artifacts.get("features"))
    return artifact.tensors.get("preview") if artifact else None


def _control_preview(section: Section, store: Store, wanted: str) -> Tensor | None:
    for name, _, control in named_controls(section):
        if name == wanted:
            return _preview(store, control)
    return None


def _reconstructed(section: Section, store: Store) -> Iterator[tuple[str, Tensor, Tensor, str]]:
    """Yield name, originals, reconstructions and error of each set of latents."""
    seen = set()
    for result in (*section.controls, *section.trials):
        key = result.artifacts.get("latents")
        if key in seen:
            continue
        seen.add(key)
        artifact = _load(store, "latents", key)
        if artifact is None or not {"shown", "reconstructed"} <= artifact.tensors.keys():
            continue
        error = artifact.meta.get("reconstruction_mse")
        text = "" if error is None else f"mean squared error {error:.4f}"
        through = f"{result.public}\n{result.extractor}"
        yield through, artifact.tensors["shown"], artifact.tensors["reconstructed"], text


def _snapshots(
    section: Section, store: Store, method: str
) -> Iterator[tuple[str, Tensor, list[int]]]:
    """Yield target, images ``[S, n, C, H, W]`` and steps, private targets first."""
    for target in sorted(section.targets, key=lambda t: not t.private):
        best = section.chosen(method, target)
        if best is None:
            continue
        artifact = _load(store, "features", best.first.artifacts.get("features"))
        if artifact and "snapshots" in artifact.tensors:
            images = artifact.tensors["snapshots"]
            steps = artifact.meta.get("snapshot_steps") or range(1, len(images) + 1)
            yield section.target_text(target), images, list(steps)

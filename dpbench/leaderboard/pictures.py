"""Images of a section: samples, reconstructions, samples during training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from dpbench.api import to_float, to_uint8
from dpbench.leaderboard.candidates import PRIMARY, Candidate
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import named_controls
from dpbench.leaderboard.words import heading, number
from dpbench.results import Result
from dpbench.stages.detail import sharpened
from dpbench.stages.score import GAINS
from dpbench.store import Artifact, CorruptArtifact, Store

__all__ = [
    "control_preview",
    "mosaic",
    "neighbours",
    "preview",
    "reconstructed",
    "score_text",
    "snapshots",
]

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


def neighbours(section: Section, store: Store, method: str) -> Iterator[tuple[str, Tensor]]:
    """Yield target and picture, the least private targets first: there memory shows."""
    for target in section.targets:
        best = section.chosen(method, target)
        if best is None:
            continue
        artifact = _load(store, "score", best.first.artifacts.get("score.leakage"))
        if artifact and "picture" in artifact.tensors:
            yield section.target_text(target), artifact.tensors["picture"]


def score_text(section: Section, candidate: Candidate) -> str:
    fid = candidate.seeds(PRIMARY).get(candidate.first.seed or 0)
    if fid is None:
        return "not scored"
    text = f"{heading('FID', section.protocol)} {number(fid)}"
    return f"{text}, collapsed" if candidate.collapsed else text


def _load(store: Store, stage: str, key: str | None) -> Artifact | None:
    if not key or not store.has(stage, key):
        return None
    try:
        return store.load(stage, key)
    except CorruptArtifact:
        return None


def preview(store: Store, result: Result) -> Tensor | None:
    artifact = _load(store, "features", result.artifacts.get("features"))
    return artifact.tensors.get("preview") if artifact else None


def control_preview(section: Section, store: Store, wanted: str) -> Tensor | None:
    for name, _, control in named_controls(section):
        if name == wanted:
            return preview(store, control)
    return None


def reconstructed(section: Section, store: Store) -> Iterator[tuple[str, Tensor, Tensor, str]]:
    """Yield name, originals, reconstructions (as sharp as samples) and error of each latents."""
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
        images = artifact.tensors["reconstructed"]
        scored = _load(store, "features", result.artifacts.get("features"))
        if scored and GAINS in scored.tensors:
            text += ", before sharpening" if text else ""
            images = to_uint8(sharpened(to_float(images), scored.tensors[GAINS]))
        yield f"{result.public}-{result.extractor}", artifact.tensors["shown"], images, text


def snapshots(
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

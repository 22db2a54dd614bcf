"""Rows of results as TensorBoard's scalars and hyperparameters."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from torch.utils.tensorboard.writer import SummaryWriter

from dpbench_tracker.names import row_name, tag

if TYPE_CHECKING:
    from dpbench.results import Result

__all__ = ["write_row"]

_FIELDS = (
    "dataset", "public", "extractor", "generator", "method", "epsilon", "noise_multiplier",
    "delta", "clip", "seed", "settings", "labels",
)  # fmt: skip


def write_row(folder: Path, result: Result, *, again: bool) -> None:
    """Write a row under ``folder / "rows"``; ``again``: in the place of what is there."""
    place = folder / "rows" / row_name(result)
    if place.exists() and not again:
        return
    shutil.rmtree(place, ignore_errors=True)
    with SummaryWriter(str(place)) as writer:
        writer.add_hparams(_named(result), _figures(result), run_name=".")
        writer.add_text("status", result.status + (f": {result.reason}" if result.reason else ""))


def _figures(result: Result) -> dict[str, float]:
    """Return metrics, seconds and the epsilon spent, as far as there are any."""
    figures = {f"score/{tag(name)}": value for name, value in result.metrics.items()}
    figures |= {f"seconds/{tag(stage)}": value for stage, value in result.seconds.items()}
    if result.epsilon_spent is not None and math.isfinite(result.epsilon_spent):
        figures["epsilon_spent"] = result.epsilon_spent
    return figures


def _named(result: Result) -> dict[str, str | float]:
    """Return what names the trial; what is no finite number, as text."""
    given = {name: getattr(result, name) for name in _FIELDS} | result.axes
    given |= {"protocol": result.protocol["name"], "status": result.status}
    return {name: _plain(value) for name, value in given.items() if value is not None}


def _plain(value: object) -> str | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return str(value)

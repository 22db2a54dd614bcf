"""Names of tags and directories."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dpbench.results import Result

__all__ = ["row_name", "tag"]


def tag(text: str) -> str:
    """Return ``text`` as a tag: other characters than TensorBoard's own become ``_``.

    >>> tag("progress/generator/ae-GAN on mnist: 2 trials")
    'progress/generator/ae-GAN_on_mnist_2_trials'
    """
    return re.sub(r"[^-\w./]+", "_", text)


def row_name(result: Result) -> str:
    """Return the directory of a row: readable, and different for different rows."""
    axes = {"eps": result.epsilon, "clip": result.clip, "seed": result.seed}
    chosen = [f"{axis}-{value:g}" for axis, value in axes.items() if value is not None]
    where = [part for part in (result.public, result.extractor) if result.is_control and part]
    name = "-".join([result.method.replace(":", "-"), *where, *chosen])
    return tag(f"{result.dataset}/{result.protocol['name']}/{name}-{result.key[:8]}")

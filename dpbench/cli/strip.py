"""A strip of samples for the live table, in half blocks."""

from __future__ import annotations

from rich.color import Color
from rich.style import Style
from rich.text import Text

from dpbench.store import CorruptArtifact, Store

__all__ = ["strip"]

SAMPLES, SIDE = 5, 14


def strip(store: Store, key: str, width: int) -> Text:
    """Return samples of the features ``key`` beside each other; nothing where there are none."""
    import torch
    from torch.nn.functional import interpolate

    try:
        images = store.load("features", key).tensors["preview"]
    except (CorruptArtifact, KeyError):
        return Text()
    count = max(min(SAMPLES, len(images), width // (SIDE + 1)), 1)
    small = interpolate(images[:count].float(), (SIDE, SIDE), mode="area").round()
    colours = small.to(torch.uint8).expand(-1, 3, -1, -1).permute(2, 0, 3, 1).tolist()
    found = Text()
    for upper, lower in zip(colours[::2], colours[1::2], strict=True):
        for above, below in zip(upper, lower, strict=True):
            for top, bottom in zip(above, below, strict=True):
                style = Style(color=Color.from_rgb(*top), bgcolor=Color.from_rgb(*bottom))
                found.append("▀", style)
            found.append(" ")
        found.append("\n")
    return found

"""Plugins that cannot be loaded, and who wants to hear of them.

Needs no torch, so that the command line can listen before it knows what it will need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Broken", "listeners"]


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and why; nothing of it is registered."""

    distribution: str
    entry_point: str
    reason: str

    def __str__(self) -> str:
        return f"broken: {self.distribution} ({self.entry_point}): {self.reason}"


#: Told of each broken plugin when the registry is loaded.
listeners: list[Callable[[Broken], None]] = []

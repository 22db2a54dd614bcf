"""A plugin as a configuration asks for it: what planning names and stages make."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dpbench.store import content_key

__all__ = ["Component"]


@dataclass(frozen=True)
class Component:
    """A plugin with its hyperparameters, under the name the configuration gives it."""

    kind: str
    name: str
    plugin: str
    params: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Name plugin and hyperparameters, whatever the configuration calls them."""
        return content_key([self.kind, self.plugin, self.params])

    def __hash__(self) -> int:
        return hash(self.digest)

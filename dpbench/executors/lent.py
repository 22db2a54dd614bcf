"""What the tasks of one process share in memory, and when it is read anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dpbench import plugins
from dpbench.component import Component
from dpbench.stages import Task
from dpbench.stages.data import load_part
from dpbench.stages.public import load_public_model
from dpbench.stages.references import load_references

__all__ = ["forget_lent"]

SHARED = (load_part, load_public_model, load_references)
OURS = "dpbench"


def forget_lent(task: Task) -> None:
    """Let go of what a stranger's plugin was lent, for it may have changed that in place.

    Files are mapped, copy on write: what the next task reads is as it was written.
    """
    if any(map(_is_strange, _components(vars(task).values()))):
        for shared in SHARED:
            shared.cache_clear()


def _components(values: Iterable[Any]) -> Iterator[Component]:
    for value in values:
        if isinstance(value, Component):
            yield value
        elif isinstance(value, tuple):
            yield from _components(value)


def _is_strange(component: Component) -> bool:
    found = plugins.registry().classes.get(component.kind, {}).get(component.plugin)
    return found is None or found.distribution != OURS

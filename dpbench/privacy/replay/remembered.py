"""Puts back what a plugin's class and module remember, so that no fit sees the one before."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from torch import Tensor

__all__ = ["Remembered", "remembered"]

_PLAIN = (type(None), bool, int, float, str, bytes, tuple, list, set, dict, Tensor)
_SHARED = {"dpbench", "builtins", "abc", "typing", "torch", "pydantic"}


class Remembered:
    """Plain values, containers and tensors in a class, its bases and their modules, as they are.

    Bases and modules of dpbench itself are left out.
    """

    def __init__(self, cls: type[Any]) -> None:
        self._kept = [(holder, _data(holder)) for holder in _holders(cls)]

    def restore(self) -> None:
        """Put everything back; what is new is removed, and caches are emptied."""
        for holder, kept in self._kept:
            for name in _data(holder).keys() - kept.keys():
                delattr(holder, name)
            for name, value in kept.items():
                setattr(holder, name, _copied(value))
            for value in list(vars(holder).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


_first: dict[type[Any], Remembered] = {}


def remembered(cls: type[Any]) -> Remembered:
    """Return what ``cls`` remembered when it was first asked for in this process."""
    if cls not in _first:
        _first[cls] = Remembered(cls)
    return _first[cls]


def _holders(cls: type[Any]) -> Iterator[type[Any] | ModuleType]:
    own = [c for c in inspect.getmro(cls) if c.__module__.split(".")[0] not in _SHARED]
    yield from own
    for name in dict.fromkeys(c.__module__ for c in own):
        if name in sys.modules and name != "__main__":
            yield sys.modules[name]


def _data(holder: type[Any] | ModuleType) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in vars(holder).items():
        if not name.startswith(("__", "_abc_")) and isinstance(value, _PLAIN):
            found[name] = _copied(value)
    return found


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # a stranger's object may refuse in any way
        return value

"""What plugins are called and how their figures are printed, for whoever reads rows alone.

To load plugins takes seconds, torch most of them. What is needed of them here is noted when
they are loaded, with all that it follows from: the packages and files that dpbench would load,
and every file that Python read to do so. Where any of it has changed, they are loaded again.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from dpbench import __version__, hookspecs
from dpbench.store import StoreNotWritable, content_key, read_file, write_json

if TYPE_CHECKING:
    from dpbench.plugins import Registry

__all__ = ["Described", "Figure", "described"]


@dataclass(frozen=True)
class Figure:
    """How a figure is read and printed: see :class:`dpbench.api.Column`."""

    better: Literal["higher", "lower", "none"] = "none"
    digits: int = 3
    title: str = ""


@dataclass(frozen=True)
class Described:
    """Of the plugins there are: names by kind; and figures by key, in the registry's order."""

    names: dict[str, list[str]]
    figures: dict[str, Figure]


def described() -> Described:
    """Describe the plugins; loads them only where what was noted of them is out of date."""
    plugins: Any = sys.modules.get("dpbench.plugins")
    if plugins is not None and plugins.registry.cache_info().currsize:
        return _describe(plugins.registry())
    return _noted_or_loaded(tuple(sys.path), _variables())


@functools.lru_cache(maxsize=1)  # to look at thousands of files once is enough for a process
def _noted_or_loaded(path: tuple[str, ...], variables: tuple[tuple[str, str], ...]) -> Described:
    if (noted := _noted()) is not None:
        return noted
    from dpbench.plugins import registry

    found = _describe(registry())
    if not registry().broken:  # else whoever asks next is to be told of it, too
        _note(found)
    return found


def _describe(registry: Registry) -> Described:
    metrics = registry.classes["metric"].values()
    return Described(
        {kind: list(by_name) for kind, by_name in registry.classes.items()},
        {
            key: Figure(column.better, column.digits, column.title)
            for entry in metrics
            for key, column in entry.cls.columns.items()
        },
    )


def _path() -> Path:
    """Return where it is noted, for each environment of Python and each dpbench."""
    name = content_key([sys.prefix, sys.version, __file__])
    return Path(platformdirs.user_cache_dir("dpbench")) / "plugins" / f"{name}.json"


def _noted() -> Described | None:
    try:
        content = json.loads(read_file(_path()))
        if content["of"] != _sources() or any(_mark(file) != m for file, m in content["files"]):
            return None
        figures = {key: Figure(**figure) for key, figure in content["figures"].items()}
        return Described(dict(content["names"]), figures)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none yet, or damaged
        return None


def _note(found: Described) -> None:
    modules = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    files = sorted({file for file in modules if isinstance(file, str)})
    content = {
        **asdict(found),
        "of": _sources(),
        "files": [(file, mark) for file in files if (mark := _mark(file))],
    }
    with contextlib.suppress(StoreNotWritable):
        write_json(_path(), content)


def _sources() -> str:
    """Name what dpbench would load, and from where."""
    packages = importlib.metadata.entry_points(group=hookspecs.PROJECT)
    return content_key([
        __version__,
        sys.path[1:],  # the first is the folder of whatever script runs
        _variables(),
        sorted(
            (point.name, point.value, point.dist.name, point.dist.version)
            for point in packages
            if point.dist
        ),
    ])  # fmt: skip


def _variables() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("DPBENCH_")))


def _mark(file: str) -> list[int] | None:
    """Return what tells that a file was touched."""
    try:
        status = os.stat(file)  # noqa: PTH116  # thousands of them
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]

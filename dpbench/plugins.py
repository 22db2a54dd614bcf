"""The registry: built-ins and entry points, each loaded in its own ``try``."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pluggy

from dpbench import __version__, api, hookspecs
from dpbench.errors import DpbenchError, UnknownName

__all__ = ["Broken", "Registered", "Registry", "registry"]

BUILTINS = ("datasets", "public", "extractors", "generators", "metrics")
HOOKS: dict[str, type[api.Plugin]] = {
    "register_datasets": api.Dataset,
    "register_public_models": api.PublicModel,
    "register_extractors": api.Extractor,
    "register_generators": api.PrivateGenerator,
    "register_metrics": api.Metric,
}
#: Set to a comma-separated list of distributions to load no others; empty loads none.
ONLY_VARIABLE = "DPBENCH_PLUGINS"


@dataclass(frozen=True)
class Registered:
    """A plugin class and the distribution it came with."""

    cls: type[Any]
    distribution: str
    distribution_version: str


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and why; nothing of it is registered."""

    distribution: str
    entry_point: str
    reason: str


@dataclass
class Registry:
    """Plugin classes by kind and name."""

    classes: dict[str, dict[str, Registered]] = field(
        default_factory=lambda: {base.kind: {} for base in HOOKS.values()}
    )
    broken: list[Broken] = field(default_factory=list)

    def get(self, kind: str, name: str) -> Registered:
        """Look up a plugin; :class:`UnknownName` suggests the nearest name."""
        try:
            return self.classes[kind][name]
        except KeyError:
            raise UnknownName(f"{kind} plugin", name, self.classes[kind]) from None

    def __iter__(self) -> Iterator[Registered]:
        for by_name in self.classes.values():
            yield from by_name.values()

    def add(self, plugin: object, distribution: str, version: str) -> None:
        """Register all classes of one plugin, or none if any of them is refused."""
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        found: list[Registered] = []
        for hook, base in HOOKS.items():
            getattr(manager.hook, hook)(register=_collector(base, found, distribution, version))
        if not found:
            raise DpbenchError("it registers nothing: implement a hook of dpbench.hookspecs")
        taken = {slot for entry in self for slot in _slots(entry.cls)}
        for entry in found:
            for slot in _slots(entry.cls):
                if slot in taken:
                    kind, attribute, value = slot
                    raise DpbenchError(
                        f"the {kind} {attribute} {value!r} is already taken: "
                        f"choose another `{attribute}`"
                    )
                taken.add(slot)
        for entry in found:
            self.classes[entry.cls.kind][entry.cls.name] = entry


def _collector(
    base: type[api.Plugin], found: list[Registered], distribution: str, version: str
) -> Callable[[type[Any]], None]:
    def register(cls: type[Any]) -> None:
        problems = list(_problems(cls, base))
        if problems:
            raise DpbenchError("; ".join(problems))
        found.append(Registered(cls, distribution, version))

    return register


def _slots(cls: type[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what must be unique: the name, and the label, of which method names are made."""
    yield cls.kind, "name", cls.name
    if cls.kind in ("extractor", "generator"):
        yield cls.kind, "label", cls.label


def _problems(cls: Any, base: type[Any]) -> Iterator[str]:
    """Yield every reason why ``cls`` cannot be registered as a ``base``."""
    label = getattr(cls, "__qualname__", repr(cls))
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        yield f"{label} is not a subclass of dpbench.api.{base.__name__}"
        return
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        yield f"{label} does not implement {', '.join(missing)}"
    wanted = {
        "public": ("name", "provides"),
        "extractor": ("name", "requires", "label"),
        "generator": ("name", "label"),
        "metric": ("name", "columns"),
    }.get(base.kind, ("name",))
    for attribute in wanted:
        if not hasattr(cls, attribute):
            yield f"{label} lacks the class attribute `{attribute}`"
    if not issubclass(getattr(cls, "Params", object), api.Params):
        yield f"{label}.Params is not a subclass of dpbench.api.Params"


def load(registry: Registry) -> Registry:
    """Fill ``registry`` with the built-ins, then with every installed entry point."""
    for package in BUILTINS:
        module = importlib.import_module(f"dpbench.{package}.plugin")
        registry.add(module, "dpbench", __version__)
    only = os.environ.get(ONLY_VARIABLE)
    allowed = None if only is None else {name.strip() for name in only.split(",")}
    for distribution in importlib.metadata.distributions():
        name = distribution.name
        if allowed is not None and name not in allowed:
            continue
        for entry_point in distribution.entry_points.select(group=hookspecs.PROJECT):
            try:
                registry.add(entry_point.load(), name, distribution.version)
            except Exception as error:  # a stranger's code may raise anything
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                registry.broken.append(Broken(name, entry_point.value, reason))
    return registry


@functools.cache
def registry() -> Registry:
    """Return the process-wide registry, loading it at the first call."""
    return load(Registry())

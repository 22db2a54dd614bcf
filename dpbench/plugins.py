"""The registry: built-ins and entry points, each loaded in its own ``try``."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pluggy

from dpbench import __version__, api, hookspecs
from dpbench.api.checks import class_problems
from dpbench.broken import Broken, listeners
from dpbench.errors import DpbenchError, UnknownName, did_you_mean, one_line
from dpbench.plugin_files import BadPluginFile, file_hash, load_file, plugin_files, title

__all__ = ["Broken", "Listener", "Refused", "Registered", "Registry", "registry"]

BUILTINS = (
    "datasets",
    "public",
    "extractors",
    "generators",
    "metrics",
    "metrics.evaluators",
    "executors",
)
HOOKS: dict[str, type[api.Plugin]] = {
    "register_datasets": api.Dataset,
    "register_public_models": api.PublicModel,
    "register_extractors": api.Extractor,
    "register_generators": api.PrivateGenerator,
    "register_metrics": api.Metric,
    "register_evaluators": api.Evaluator,
    "register_executors": api.Executor,
}
#: Hooks that tell what happens in a run; they register nothing.
EVENTS = ("planned", "started", "progress", "finished", "failed")
#: Set to a comma-separated list of distributions to load no others; empty loads none.
ONLY_VARIABLE = "DPBENCH_PLUGINS"
#: Set to a comma-separated list of distributions to leave out.
DISABLE_VARIABLE = "DPBENCH_DISABLE_PLUGINS"


class Refused(DpbenchError):
    """A plugin that breaks the rules of registration; names every fault."""


@dataclass(frozen=True)
class Registered:
    """A plugin class and the distribution it came with."""

    cls: type[Any]
    distribution: str
    distribution_version: str


@dataclass(frozen=True)
class Listener:
    """A plugin that is told what happens in a run, by the hooks :data:`EVENTS`."""

    distribution: str
    hook: pluggy.HookRelay


@dataclass
class Registry:
    """Plugin classes by kind and name, and who listens to a run."""

    classes: dict[str, dict[str, Registered]] = field(
        default_factory=lambda: {base.kind: {} for base in HOOKS.values()}
    )
    broken: list[Broken] = field(default_factory=list)
    listeners: list[Listener] = field(default_factory=list)

    def get(self, kind: str, name: str) -> Registered:
        """Look up a plugin; :class:`UnknownName` suggests the nearest name."""
        try:
            return self.classes[kind][name]
        except KeyError:
            raise UnknownName(
                f"{kind} plugin", name, self.classes[kind], self._left_out()
            ) from None

    def _left_out(self) -> str:
        """Name what could not be loaded: the plugin that is looked for may be among it."""
        return "".join(f"; {item}" for item in self.broken)

    def named(self, name: str, kind: str | None = None) -> list[Registered]:
        """Return all plugins called ``name``, or all that a distribution of that name brings.

        Raises:
            Refused: that distribution could not be loaded.
            UnknownName: there is none, of that ``kind`` if one is given.
        """
        entries = [entry for entry in self if kind in (None, entry.cls.kind)]
        found = [entry for entry in entries if entry.cls.name == name]
        found = found or [entry for entry in entries if entry.distribution == name]
        if found:
            return found
        for item in self.broken:
            if item.distribution == name:
                raise Refused(str(item))
        known = {entry.cls.name for entry in entries} | {entry.distribution for entry in entries}
        raise UnknownName("plugin or distribution", name, known, self._left_out())

    def __iter__(self) -> Iterator[Registered]:
        for by_name in self.classes.values():
            yield from by_name.values()

    def add(self, plugin: object, distribution: str, version: str) -> None:
        """Register all classes of one plugin, or none if any of them is refused.

        Raises:
            Refused: with every fault found, of all its hooks and classes.
        """
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        found: list[Registered] = []
        faults = list(_unknown_hooks(manager, plugin))
        for hook, base in HOOKS.items():
            register = _collector(base, found, faults, distribution, version)
            try:
                getattr(manager.hook, hook)(register=register)
            except Exception as error:  # a stranger's code may raise anything
                faults.append(f"{hook}: {type(error).__name__}: {one_line(error)}")
        listens = any(getattr(manager.hook, event).get_hookimpls() for event in EVENTS)
        if not found and not listens and not faults:
            faults.append("it registers nothing: implement a hook of dpbench.hookspecs")
        faults += self._taken(found)
        if faults:
            raise Refused("; ".join(faults))
        for entry in found:
            self.classes[entry.cls.kind][entry.cls.name] = entry
        if listens:
            self.listeners.append(Listener(distribution, manager.hook))

    def _taken(self, found: list[Registered]) -> Iterator[str]:
        taken = {slot for entry in self for slot in _slots(entry.cls)}
        for entry in found:
            for slot in _slots(entry.cls):
                if slot in taken:
                    kind, attribute, value = slot
                    yield (
                        f"the {kind} {attribute} {value!r} is already taken: "
                        f"choose another `{attribute}`"
                    )
                taken.add(slot)


def _unknown_hooks(manager: pluggy.PluginManager, plugin: object) -> Iterator[str]:
    """Yield what is marked as a hook and is none: a misspelt name would never be called."""
    for name in dir(plugin):
        known = (*HOOKS, *EVENTS)
        if name not in known and manager.parse_hookimpl_opts(plugin, name) is not None:
            yield f"there is no hook {name!r}{did_you_mean(name, known)}"


def _collector(
    base: type[api.Plugin],
    found: list[Registered],
    faults: list[str],
    distribution: str,
    version: str,
) -> Callable[[type[Any]], None]:
    def register(cls: type[Any]) -> None:
        problems = list(class_problems(cls, base))
        faults.extend(problems)
        if not problems:
            found.append(Registered(cls, distribution, version))

    return register


def _slots(cls: type[Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what must be unique: the name; the label, of which method names are made; columns."""
    yield cls.kind, "name", cls.name
    if cls.kind == "metric":
        yield from ((cls.kind, "column", column) for column in cls.columns)
    if cls.kind in ("extractor", "generator"):
        yield cls.kind, "label", cls.label


def load(registry: Registry) -> Registry:
    """Fill ``registry`` with the built-ins, every installed entry point, then single files.

    Raises:
        BadPluginFile: a file that cannot be loaded; who names one wants it.
    """
    for package in BUILTINS:
        module = importlib.import_module(f"dpbench.{package}.plugin")
        registry.add(module, "dpbench", __version__)
    for name, distribution in _installed().items():
        if not _wanted(name):
            continue
        for entry_point in distribution.entry_points.select(group=hookspecs.PROJECT):
            try:
                registry.add(entry_point.load(), name, distribution.version)
            except (Exception, SystemExit) as error:  # a stranger's code may raise anything
                reason = f"{type(error).__name__}: {one_line(error)}"
                _leave_out(registry, Broken(name, entry_point.value, reason))
    for path in plugin_files():
        module = load_file(path)
        try:
            registry.add(module, title(path), file_hash(path))
        except Refused as error:
            raise BadPluginFile(f"plugin file {path}: {error}") from error
    return registry


def _installed() -> dict[str, importlib.metadata.Distribution]:
    """Return what is installed by name; of a name that is found twice, what Python imports.

    Nested environments hold one twice. All are found before any is loaded, for a plugin may
    bring a finder (setuptools and importlib-metadata do) that would find all of them again.
    """
    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        found.setdefault(distribution.name, distribution)
    return found


def _leave_out(registry: Registry, broken: Broken) -> None:
    registry.broken.append(broken)
    for tell in listeners:
        tell(broken)


def _wanted(distribution: str) -> bool:
    """Say whether the environment leaves a distribution in."""
    only = os.environ.get(ONLY_VARIABLE)
    if only is not None and distribution not in _names(only):
        return False
    return distribution not in _names(os.environ.get(DISABLE_VARIABLE, ""))


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",")}


@functools.cache
def registry() -> Registry:
    """Return the process-wide registry, loading it at the first call.

    What a plugin prints while it is loaded goes to stderr: stdout is for tables and JSON.
    """
    with contextlib.redirect_stdout(sys.stderr):
        return load(Registry())

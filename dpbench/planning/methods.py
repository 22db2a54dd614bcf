"""The methods of a grid: triples whose capabilities fit, and their hyperparameters."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpbench.component import Component
from dpbench.planning.invalid import InvalidConfig, InvalidParams
from dpbench.planning.selector import InvalidSelector, Selector

if TYPE_CHECKING:
    from dpbench.api import Capability
    from dpbench.planning.config import Config, GridConfig

__all__ = ["COMPONENTS", "Axes", "Method", "enumerate_methods", "methods_with_axes", "select"]

COMPONENTS = ("public", "extractors", "generators")
Axes = tuple[tuple[str, Any], ...]
"""Hyperparameters by their full name, as a grid's axes have them."""


@dataclass(frozen=True)
class Method:
    """A compatible triple; its name follows the paper's convention (``ae-enc-GAN``)."""

    name: str
    public: Component
    extractor: Component
    generator: Component

    @property
    def components(self) -> tuple[str, ...]:
        """The configured names of its parts, in the order of :data:`COMPONENTS`."""
        return self.public.name, self.extractor.name, self.generator.name


def enumerate_methods(
    config: Config, grid: GridConfig, axes: dict[str, Any] | None = None
) -> Iterator[Method]:
    """Yield every triple whose capabilities fit, with the grid's hyperparameters."""

    def resolve(section: str, name: str) -> Component:
        chosen = {
            axis.split(".")[2]: value
            for axis, value in (axes or {}).items()
            if axis.split(".")[:2] == [section, name]
        }
        return config.component(section, name, getattr(grid, section).get(name, {}), chosen)

    def usable(section: str) -> Iterator[Component]:
        told = {*getattr(config.file, section), *getattr(grid, section)}
        told |= {axis.split(".")[1] for axis in axes or {} if axis.startswith(f"{section}.")}
        for name in sorted({*config.names(section), *told}):
            try:
                yield resolve(section, name)
            except (InvalidConfig, InvalidParams):
                if name in told:
                    raise  # else nobody asked for it, and it wants to be told something

    generators, extractors = list(usable("generators")), list(usable("extractors"))
    for public in usable("public"):
        provides = config.registry.get("public", public.plugin).cls.provides
        for extractor in extractors:
            if not _needs(config, extractor) <= provides:
                continue
            for generator in generators:
                if not _needs(config, generator) <= provides:
                    continue
                parts = [public.name, _label(config, extractor), _label(config, generator)]
                yield Method("-".join(filter(None, parts)), public, extractor, generator)


def require_usable(config: Config, name: str) -> None:
    """Raise why a plugin of this name makes no methods, if that is why there are none.

    Raises:
        InvalidConfig: its hyperparameters are no JSON.
        InvalidParams: it has to be told some.
    """
    for section in COMPONENTS:
        if name in config.names(section):
            config.component(section, name)


def _needs(config: Config, component: Component) -> frozenset[Capability]:
    """Return what an extractor or a generator asks of the public model."""
    needed: frozenset[Capability]
    needed = config.registry.get(component.kind, component.plugin).cls.requires
    return needed


def _label(config: Config, component: Component) -> str:
    if component.name != component.plugin:
        return component.name
    cls = config.registry.get(component.kind, component.plugin).cls
    if component.kind != "generator":
        return str(cls.label)
    return str(cls.label_of(cls.Params.model_validate(component.params)))


def methods_with_axes(config: Config, grid: GridConfig) -> Iterator[tuple[Axes, Method]]:
    """Yield each method once per combination of the axes that touch its components."""
    seen: set[str] = set()
    for values in itertools.product(*grid.axes.values()):
        chosen = dict(zip(grid.axes, values, strict=True))
        for method in enumerate_methods(config, grid, chosen):
            axes = tuple(
                (axis, value)
                for axis, value in chosen.items()
                if tuple(axis.split(".")[:2]) in _parts(method)
            )
            if (slot := repr((method.name, axes))) not in seen:
                seen.add(slot)
                yield axes, method


def _parts(method: Method) -> list[tuple[str, str]]:
    return list(zip(COMPONENTS, method.components, strict=True))


def select(
    config: Config, grid: GridConfig, selectors: Sequence[Selector]
) -> tuple[GridConfig, list[tuple[Axes, Method]]]:
    """Return the methods that all of ``selectors`` name, and the grid with what they set.

    A hyperparameter belongs to the component that its selector names, else to the
    generator; ``public.epochs`` and ``extractors.steps`` belong to the other two.
    """
    found = [
        (axes, method)
        for axes, method in methods_with_axes(config, grid)
        if all(selector.matches(method) for selector in selectors)
    ]
    given = {
        (*_target(selector, key, method), key.rpartition(".")[2]): values
        for selector in selectors
        for key, values in selector.params.items()
        for _, method in found
    }
    if not given:
        return grid, found
    changed = _with_params(config, grid, given)

    def kept(axes: Axes, method: Method) -> str:
        fixed = [axis for axis in axes if tuple(axis[0].split(".")) not in given]
        return repr((method.components, fixed))

    chosen = {kept(axes, method) for axes, method in found}
    again = methods_with_axes(config, changed)
    return changed, [(axes, method) for axes, method in again if kept(axes, method) in chosen]


def _target(selector: Selector, key: str, method: Method) -> tuple[str, str]:
    """Return section and name of the component that a hyperparameter belongs to."""
    parts = dict(_parts(method))
    section = key.rpartition(".")[0]
    if not section:
        named = [s for s, name in parts.items() if name.lower() == selector.pattern.lower()]
        section = named[-1] if named else "generators"
    if section not in parts:
        raise InvalidSelector(f"{key!r}: write public.KEY, extractors.KEY or KEY (a generator's)")
    return section, parts[section]


def _with_params(
    config: Config, grid: GridConfig, given: dict[tuple[str, str, str], list[Any]]
) -> GridConfig:
    """Return a grid with hyperparameters of its own; those with several values are axes."""
    axes = dict(grid.axes)
    tables = {section: dict(getattr(grid, section)) for section in COMPONENTS}
    for (section, name, key), values in given.items():
        axis = f"{section}.{name}.{key}"
        axes.pop(axis, None)
        component = config.component(section, name, getattr(grid, section).get(name, {}))
        fitting = [_fitting(config, component, key, value) for value in values]
        if len(values) > 1:
            axes[axis] = fitting
        else:
            tables[section][name] = {**tables[section].get(name, {}), key: fitting[0]}
    return grid.model_copy(update={**tables, "axes": axes})


def _fitting(config: Config, component: Component, key: str, value: Any) -> Any:
    """Return a value as a list where its hyperparameter is one: ``hidden=64`` is ``[64]``."""
    field = config.registry.get(component.kind, component.plugin).cls.Params.model_fields.get(key)
    listed = field is not None and _is_list(field.annotation)
    return [value] if listed and not isinstance(value, list) else value


def _is_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (list, tuple):
        return True
    return any(map(_is_list, typing.get_args(annotation)))

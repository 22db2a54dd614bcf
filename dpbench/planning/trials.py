"""From configuration to trials: capability matching, axes, names."""

from __future__ import annotations

import fnmatch
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dpbench.errors import DpbenchError, did_you_mean
from dpbench.planning.config import Component, Config, GridConfig

__all__ = ["Method", "Selection", "Trial", "enumerate_methods", "plan_trials"]


@dataclass(frozen=True)
class Method:
    """A compatible triple; its name follows the paper's convention (``ae-enc-GAN``)."""

    name: str
    public: Component
    extractor: Component
    generator: Component


@dataclass(frozen=True)
class Trial:
    """One cell of a grid: a method at one epsilon (or noise), clip and seed.

    ``epsilon`` is ``None`` where ``noise_multiplier`` drives the noise.
    ``settings`` is ``"default"``, or the grid's name where it overrides
    hyperparameters; rows of different settings never share a table.
    """

    method: Method
    dataset: Component
    epsilon: float | None
    noise_multiplier: float | None
    delta: float
    clip: float
    seed: int
    settings: str
    latents: dict[str, Any] = field(hash=False)
    protocols: tuple[str, ...] = ("default",)
    axes: tuple[tuple[str, Any], ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What names this trial to a reader; two trials of one run never share it."""
        return {
            "dataset": self.dataset.name,
            "settings": self.settings,
            "method": self.method.name,
            "epsilon": self.epsilon,
            "noise_multiplier": self.noise_multiplier,
            "delta": self.delta,
            "clip": self.clip,
            "seed": self.seed,
            "axes": [list(axis) for axis in self.axes],
        }


@dataclass(frozen=True)
class Selection:
    """What the command line asks for; empty fields leave the grid's own axes."""

    grids: tuple[str, ...] = ("all",)
    dataset: str | None = None
    epsilon: tuple[float, ...] = ()
    noise_multiplier: tuple[float, ...] = ()
    clip: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    protocols: tuple[str, ...] = ()


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

    def names(section: str) -> list[str]:
        return sorted({*config.names(section), *getattr(grid, section)})

    generators = [resolve("generators", name) for name in names("generators")]
    extractors = [resolve("extractors", name) for name in names("extractors")]
    for public_name in names("public"):
        public = resolve("public", public_name)
        provides = config.registry.get("public", public.plugin).cls.provides
        for extractor in extractors:
            if not config.registry.get("extractor", extractor.plugin).cls.requires <= provides:
                continue
            for generator in generators:
                parts = [public.name, _label(config, extractor), _label(config, generator)]
                yield Method("-".join(filter(None, parts)), public, extractor, generator)


def _label(config: Config, component: Component) -> str:
    if component.name != component.plugin:
        return component.name
    label: str = config.registry.get(component.kind, component.plugin).cls.label
    return label


def plan_trials(config: Config, selection: Selection) -> list[Trial]:
    """Enumerate the trials of all selected grids, without repeats.

    A selected name is a grid's, or else a method name or glob, which takes the
    matching methods of the grid ``all``.

    Raises:
        DpbenchError: a name that is neither, or an axis value out of range.
    """
    _check(selection)
    trials: dict[str, Trial] = {}
    for name in selection.grids:
        for trial in _trials_of(config, name, selection):
            trials.setdefault(repr(trial), trial)
    return list(trials.values())


def _check(selection: Selection) -> None:
    for epsilon in selection.epsilon:
        if not epsilon > 0:
            raise DpbenchError(f"epsilon must be positive (or inf), got {epsilon}")
    for name, values in (
        ("clip", selection.clip),
        ("noise multiplier", selection.noise_multiplier),
    ):
        for value in values:
            if not (value > 0 and math.isfinite(value)):
                raise DpbenchError(f"{name} must be positive and finite, got {value}")


def _trials_of(config: Config, name: str, selection: Selection) -> Iterator[Trial]:
    settings = config.settings
    if name in settings.grids:
        grid, heading = settings.grids[name], name
    else:
        grid, heading = _grid_of_method(config, name), "all"
    dataset_name = selection.dataset or grid.dataset or settings.dataset
    if dataset_name not in config.names("datasets"):
        known = config.names("datasets")
        raise DpbenchError(
            f"unknown dataset {dataset_name!r}{did_you_mean(dataset_name, known)} "
            f"(known: {', '.join(known)})"
        )
    protocols = selection.protocols or tuple(grid.protocols or settings.default_protocols)
    for protocol in protocols:
        if protocol not in settings.protocols:
            raise DpbenchError(
                f"unknown protocol {protocol!r}{did_you_mean(protocol, settings.protocols)}"
            )
    dataset = config.component("datasets", dataset_name)
    latents = (grid.latents or settings.latents).model_dump()
    noises: Sequence[tuple[float | None, float | None]] = (
        [(float(epsilon), None) for epsilon in selection.epsilon]
        if selection.epsilon
        else [(e, None) for e in grid.epsilon] + [(None, s) for s in grid.noise_multiplier]
    )
    for axes, method in _methods_with_axes(config, grid):
        if not any(_matches(method.name, pattern) for pattern in grid.methods):
            continue
        for (epsilon, noise), clip, seed in itertools.product(
            noises, selection.clip or grid.clip, selection.seeds or grid.seeds
        ):
            yield Trial(
                method=method,
                dataset=dataset,
                epsilon=epsilon,
                noise_multiplier=noise,
                delta=grid.delta or settings.delta,
                clip=float(clip),
                seed=seed,
                settings=heading if grid.overrides else "default",
                latents=latents,
                protocols=protocols,
                axes=axes,
            )


def _methods_with_axes(
    config: Config, grid: GridConfig
) -> Iterator[tuple[tuple[tuple[str, Any], ...], Method]]:
    """Yield each method once per combination of the axes that touch its components."""
    seen: set[str] = set()
    for values in itertools.product(*grid.axes.values()):
        chosen = dict(zip(grid.axes, values, strict=True))
        for method in enumerate_methods(config, grid, chosen):
            components = {
                f"public.{method.public.name}",
                f"extractors.{method.extractor.name}",
                f"generators.{method.generator.name}",
            }
            axes = tuple(
                (axis, value)
                for axis, value in chosen.items()
                if axis.rpartition(".")[0] in components
            )
            if (slot := repr((method.name, axes))) not in seen:
                seen.add(slot)
                yield axes, method


def _grid_of_method(config: Config, pattern: str) -> GridConfig:
    """Return the grid ``all`` narrowed to the methods that match ``pattern``."""
    grids = config.settings.grids
    base = grids.get("all", next(iter(grids.values()), None))
    if base is None:
        raise DpbenchError("the configuration has no grid: add a table [grids.all]")
    names = [method.name for method in enumerate_methods(config, base)]
    if not any(_matches(name, pattern) for name in names):
        known = [*grids, *names]
        raise DpbenchError(
            f"unknown grid or method {pattern!r}{did_you_mean(pattern, known)} "
            f"(grids: {', '.join(grids)}; methods: {', '.join(names)})"
        )
    return base.model_copy(update={"methods": [pattern]})


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name.lower(), pattern.lower())

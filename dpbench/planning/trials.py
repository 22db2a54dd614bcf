"""From configuration to trials: capability matching, axes, names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dpbench.component import Component
from dpbench.errors import DpbenchError, did_you_mean
from dpbench.planning.config import Config, GridConfig
from dpbench.planning.methods import (
    COMPONENTS,
    Axes,
    Method,
    methods_with_axes,
    require_usable,
    select,
)
from dpbench.planning.selector import Selector
from dpbench.results.identity import DEFAULT, Labels, TrialIdentity
from dpbench.store import content_key

__all__ = ["Request", "Trial", "plan_trials", "scored_by_default"]


@dataclass(frozen=True)
class Trial:
    """One trial of a grid: what names it, with the components that it is made of.

    ``identity.epsilon`` is ``None`` where ``noise_multiplier`` drives the noise.
    ``grids`` are the names of those that mention the trial; ``selectors`` the names with
    hyperparameters in brackets, outside the configuration, that planned it.
    """

    identity: TrialIdentity
    method: Method
    dataset: Component
    latents: dict[str, Any]
    sharpen: bool = True
    protocols: tuple[str, ...] = ("default",)
    grids: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()

    @property
    def epsilon(self) -> float | None:
        return self.identity.epsilon

    @property
    def noise_multiplier(self) -> float | None:
        return self.identity.noise_multiplier

    @property
    def delta(self) -> float:
        assert self.identity.delta is not None  # a control alone has none
        return self.identity.delta

    @property
    def clip(self) -> float:
        assert self.identity.clip is not None
        return self.identity.clip

    @property
    def seed(self) -> int:
        return self.identity.seed or 0

    @property
    def settings(self) -> str:
        return self.identity.settings

    @property
    def labels(self) -> Labels:
        return self.identity.labels


@dataclass(frozen=True)
class Request:
    """What the command line asks for; empty fields leave the grid's own axes.

    ``only`` are the identity keys of the trials that are wanted, if not all are.
    """

    grids: tuple[str, ...] = ("all",)
    dataset: str | None = None
    epsilon: tuple[float, ...] = ()
    noise_multiplier: tuple[float, ...] = ()
    clip: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    protocols: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    labels: tuple[Labels, ...] = ()
    only: frozenset[str] | None = None


def plan_trials(config: Config, request: Request) -> list[Trial]:
    """Enumerate the trials of all selected grids, without repeats.

    A selected name is a grid's, or else a method name, glob or component, which takes the
    matching methods of the grid ``all``; ``request.methods`` narrow each of them.

    Raises:
        DpbenchError: a name that is neither, a method that no grid has, or an axis value
            out of range.
    """
    _check(request)
    _require_methods(config, request)
    trials: dict[str, Trial] = {}
    for name in request.grids:
        for trial in _trials_of(config, name, request):
            key = trial.identity.identity_key
            if request.only is not None and key not in request.only:
                continue
            known = trials.get(key)
            trials[key] = trial if known is None else _joined(known, trial)
    return list(trials.values())


def scored_by_default(config: Config, request: Request) -> bool:
    """Say whether some grid of a request leaves its protocols to ``default_protocols``.

    Raises:
        DpbenchError: a name that is neither a grid's nor a method's.
    """
    grids = [_grid_named(config, name)[0] for name in request.grids]
    return not request.protocols and any(not grid.protocols for grid in grids)


def _require_methods(config: Config, request: Request) -> None:
    """Raise where no method of the grids has a name that was asked for."""
    patterns = [pattern for pattern in request.methods if pattern != "*"]
    if not patterns:
        return
    grids = [_grid_named(config, name)[0] for name in request.grids]
    known = [method for grid in grids for method in _methods_of(config, grid)]
    for pattern in patterns:
        if unknown := Selector.parse(pattern).unknown_among(known):
            require_usable(config, pattern)
            raise DpbenchError(unknown)


def _methods_of(config: Config, grid: GridConfig) -> Iterator[Method]:
    for pattern in grid.methods:
        for _, method in select(config, grid, [Selector.parse(pattern)])[1]:
            yield method


def _joined(first: Trial, second: Trial) -> Trial:
    """Make one of what two grids say of the same trial."""
    protocols = tuple(dict.fromkeys((*first.protocols, *second.protocols)))
    grids = tuple(dict.fromkeys((*first.grids, *second.grids)))
    return replace(first, protocols=protocols, grids=grids)


def _check(request: Request) -> None:
    for epsilon in request.epsilon:
        if not epsilon > 0:
            raise DpbenchError(f"epsilon must be positive (or inf), got {epsilon}")
    for name, values in (
        ("clip", request.clip),
        ("noise multiplier", request.noise_multiplier),
    ):
        for value in values:
            if not (value > 0 and math.isfinite(value)):
                raise DpbenchError(f"{name} must be positive and finite, got {value}")


def _trials_of(config: Config, name: str, request: Request) -> Iterator[Trial]:
    grid, heading = _grid_named(config, name)
    for patterns in itertools.product(grid.methods, request.methods or ("*",)):
        part, methods = select(config, grid, [Selector.parse(pattern) for pattern in patterns])
        typed = patterns[1:] if name in config.file.grids else patterns
        bracketed = tuple(pattern for pattern in typed if Selector.parse(pattern).params)
        for trial in _trials_with(config, part, heading, methods, request):
            yield replace(trial, selectors=bracketed)


def _trials_with(
    config: Config,
    grid: GridConfig,
    heading: str,
    methods: list[tuple[Axes, Method]],
    request: Request,
) -> Iterator[Trial]:
    dataset = config.component("datasets", _dataset_name(config, grid, request))
    protocols = _protocols(config, grid, request)
    latents = (grid.latents or config.file.latents).model_dump()
    sharpen = grid.sharpen and config.sharpens(dataset.name)
    settings = _settings(config, grid)
    for axes, method in methods:
        for labels, (epsilon, noise), clip, seed in itertools.product(
            request.labels or grid.labels,
            _noises(grid, request),
            request.clip or grid.clip,
            request.seeds or grid.seeds,
        ):
            identity = TrialIdentity(
                method=method.name,
                public=method.public.name,
                extractor=method.extractor.name,
                generator=method.generator.name,
                dataset=dataset.name,
                settings=settings,
                labels=labels,
                epsilon=epsilon,
                noise_multiplier=noise,
                delta=grid.delta or config.file.delta,
                clip=clip,
                seed=seed,
                axes=dict(axes),
            )
            yield Trial(identity, method, dataset, latents, sharpen, protocols, (heading,))


def _grid_named(config: Config, name: str) -> tuple[GridConfig, str]:
    """Return a grid and its name; a method's name or glob is a part of ``all``, or the first."""
    grids = config.file.grids
    return (grids[name], name) if name in grids else _grid_of_method(config, name)


def _dataset_name(config: Config, grid: GridConfig, request: Request) -> str:
    name = request.dataset or grid.dataset or config.file.dataset
    known = config.names("datasets")
    if name not in known:
        raise DpbenchError(
            f"unknown dataset {name!r}{did_you_mean(name, known)} (known: {', '.join(known)})"
        )
    return name


def _protocols(config: Config, grid: GridConfig, request: Request) -> tuple[str, ...]:
    names = request.protocols or tuple(grid.protocols or config.default_protocols)
    for name in names:
        if name not in config.file.protocols:
            raise DpbenchError(
                f"unknown protocol {name!r}{did_you_mean(name, config.file.protocols)}"
            )
    return names


def _noises(grid: GridConfig, request: Request) -> Sequence[tuple[float | None, float | None]]:
    """Return pairs of epsilon and noise multiplier, one of them ``None``."""
    epsilons, noises = request.epsilon, request.noise_multiplier
    if not (epsilons or noises):
        epsilons, noises = tuple(grid.epsilon), tuple(grid.noise_multiplier)
    return [(epsilon, None) for epsilon in epsilons] + [(None, noise) for noise in noises]


def _settings(config: Config, grid: GridConfig) -> str:
    """Name the hyperparameters: ``default``, or a digest of those that are not as configured.

    Two grids that say the same of them have the same name, whatever they are called.
    """
    changed: dict[str, Any] = {}
    for section in COMPONENTS:
        for name, table in getattr(grid, section).items():
            component = config.component(section, name, table)
            if component != _configured(config, section, name):
                changed[f"{section}.{name}"] = [component.plugin, component.params]
    if grid.latents and grid.latents != config.file.latents:
        changed["latents"] = grid.latents.model_dump()
    if not grid.sharpen:
        changed["sharpen"] = False
    if grid.axes:
        changed["axes"] = grid.axes
    return content_key(changed)[:8] if changed else DEFAULT


def _configured(config: Config, section: str, name: str) -> Component | None:
    """Return a component without a grid's overrides; ``None`` where only the grid has it."""
    return config.component(section, name) if name in config.names(section) else None


def _grid_of_method(config: Config, pattern: str) -> tuple[GridConfig, str]:
    """Return the grid ``all`` narrowed to the methods that match ``pattern``, and its name.

    Where there is no ``all`` it is the first one.
    """
    grids = config.file.grids
    if not grids:
        raise DpbenchError("the configuration has no grid: add a table [grids.all]")
    name = "all" if "all" in grids else next(iter(grids))
    base = grids[name]
    methods = [method for _, method in methods_with_axes(config, base)]
    if Selector.parse(pattern).unknown_among(methods):
        require_usable(config, pattern)
        names = sorted({method.name for method in methods})
        known = [*grids, *names]
        raise DpbenchError(
            f"unknown grid or method {pattern!r}{did_you_mean(pattern, known)} "
            f"(grids: {', '.join(grids)}; methods: {', '.join(names)})"
        )
    return base.model_copy(update={"methods": [pattern]}), name

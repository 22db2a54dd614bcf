"""Everything wrong with a configuration, each with its place in the file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dpbench.errors import DpbenchError, did_you_mean
from dpbench.planning.invalid import InvalidConfig, InvalidParams, Place, Violation
from dpbench.planning.methods import COMPONENTS, methods_with_axes
from dpbench.planning.selector import Selector

if TYPE_CHECKING:
    from dpbench.metrics.protocol import Protocol
    from dpbench.planning.config import Config, GridConfig

__all__ = ["method_violations", "report", "violations"]

#: Violations that are shown.
MOST = 50


def violations(config: Config) -> Iterator[Violation]:
    """Check everything that needs the registry or two places of the file at once."""
    from dpbench.planning.config import SECTIONS

    file = config.file
    for section in (*SECTIONS, "protocols", "grids"):
        for name in getattr(file, section):
            if not name.isprintable():
                yield (section, name), "a name may not hold characters that cannot be shown"
    for section in SECTIONS:
        for name in getattr(file, section):
            yield from _component_violations(config, section, name, {}, (section, name))
    for name in file.datasets:
        yield from _public_violations(config, name)
        if not isinstance(config.sharpens(name), bool):
            yield ("datasets", name, "sharpen"), "write true or false"
    yield from _unknown(file.dataset, config.names("datasets"), ("dataset",))
    yield from _unknown(file.executor, config.names("executors"), ("executor",))
    for index, named in enumerate(config.default_protocols):
        yield from _unknown(named, file.protocols, ("default_protocols", index))
    for name, protocol in file.protocols.items():
        yield from _protocol_violations(config, protocol, ("protocols", name))
    for name, grid in file.grids.items():
        yield from _grid_violations(config, name, grid)


def _public_violations(config: Config, dataset: str) -> Iterator[Violation]:
    public, at = config.public_data(dataset), ("datasets", dataset, "public")
    if public is None:
        return
    unknown = list(_unknown(public, config.names("datasets"), at))
    yield from unknown
    if not unknown and config.public_data(public) is not None:
        yield at, f"{public!r} has another's public images itself: name one with images of its own"


def _protocol_violations(config: Config, protocol: Protocol, at: Place) -> Iterator[Violation]:
    known = config.names("metrics")
    yield from _unknown(protocol.evaluator, config.names("evaluators"), (*at, "evaluator"))
    for index, metric in enumerate(protocol.metrics):
        yield from _unknown(metric, known, (*at, "metrics", index))
    if shared := config.shared_column(protocol.metrics):
        yield (*at, "metrics"), shared
    for metric, table in protocol.params.items():
        inside = (*at, "params", metric)
        yield from _unknown(metric, known, inside)
        if metric in known:
            yield from _further_violations(config, "metrics", metric, {}, table, inside)


def _grid_violations(config: Config, name: str, grid: GridConfig) -> Iterator[Violation]:
    at = ("grids", name)
    if not (grid.epsilon or grid.noise_multiplier):
        yield (*at, "epsilon"), "give at least one epsilon or noise_multiplier"
    if grid.dataset is not None:
        yield from _unknown(grid.dataset, config.names("datasets"), (*at, "dataset"))
    for index, protocol in enumerate(grid.protocols or ()):
        yield from _unknown(protocol, config.file.protocols, (*at, "protocols", index))
    for section in COMPONENTS:
        for component, table in getattr(grid, section).items():
            yield from _further_violations(
                config, section, component, {}, table, (*at, section, component)
            )
    for axis, values in grid.axes.items():
        parts = axis.split(".")
        if len(parts) != 3 or parts[0] not in COMPONENTS:
            yield (*at, "axes", axis), "name an axis as generators.<name>.<hyperparameter>"
            continue
        section, component, key = parts
        base = getattr(grid, section).get(component, {})
        for value in values:
            yield from _further_violations(
                config, section, component, base, {key: value}, (*at, "axes", axis)
            )


def method_violations(config: Config) -> Iterator[Violation]:
    """Find patterns of grids that select nothing; all hyperparameters are in order."""
    for name, grid in config.file.grids.items():
        yield from _method_violations(config, name, grid)


def _method_violations(config: Config, name: str, grid: GridConfig) -> Iterator[Violation]:
    if grid.methods == ["*"]:
        return
    try:
        known = [method for _, method in methods_with_axes(config, grid)]
    except DpbenchError:  # of a component that is broken elsewhere in the file
        return
    for index, pattern in enumerate(grid.methods):
        try:
            unknown = Selector.parse(pattern).unknown_among(known)
        except DpbenchError as error:
            unknown = str(error)
        if unknown:
            yield ("grids", name, "methods", index), unknown


def _further_violations(
    config: Config,
    section: str,
    name: str,
    base: dict[str, Any],
    override: dict[str, Any],
    at: Place,
) -> Iterator[Violation]:
    """Find what is wrong with ``override`` over ``base``, but not with ``base`` already."""
    known = [
        (place, _cause(message))
        for place, message in _component_violations(config, section, name, base, ())
    ]
    for place, message in _component_violations(config, section, name, base | override, ()):
        if (place[:1] and place[0] in override) or (place, _cause(message)) not in known:
            yield (*at, *place), message


def _cause(message: str) -> str:
    """Leave out the value that was refused: a whole table, where keys do not fit each other."""
    return message.partition(", got ")[0]


def _component_violations(
    config: Config, section: str, name: str, override: dict[str, Any], at: Place
) -> Iterator[Violation]:
    try:
        config.component(section, name, override)
    except InvalidParams as error:
        yield from (((*at, *place), message) for place, message in error.details)
    except DpbenchError as error:
        yield at, str(error)


def _unknown(name: Any, known: Any, at: Place) -> Iterator[Violation]:
    if not isinstance(name, str):
        yield at, f"write a name, not {name!r}"
    elif name not in known:
        yield at, f"unknown name {name!r}{did_you_mean(name, known)}"


def report(source: str, text: str, found: list[Violation]) -> InvalidConfig:
    """Make one error of all violations of a file, in the order of its lines."""
    lines = [f"{source} has {len(found)} violation{'s' if len(found) > 1 else ''}:"]
    placed = [(_line_of(text, place), place, message) for place, message in found]
    for line, place, message in sorted(placed, key=lambda p: p[0] or math.inf)[:MOST]:
        name = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
        lines.append(f"  line {line}, {name}: {message}" if line else f"  {name}: {message}")
    if len(found) > MOST:
        lines.append(f"  and {len(found) - MOST} more")
    return InvalidConfig("\n".join(lines))


def _line_of(text: str, place: Place) -> int | None:
    """Find the line of the deepest part of ``place`` that the file spells out."""
    path = [part for part in place if isinstance(part, str)]
    best: tuple[int, int] | None = None
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[+([^\]]+)\]+", line)
        key = re.match(r"\s*([\w\".-]+)\s*=", line)
        if header:
            here = table = _dotted(header[1])
        elif key:
            here = [*table, *_dotted(key[1])]
        else:
            continue
        depth = len(here)
        if here == path[:depth] and (best is None or depth > best[0]):
            best = (depth, number)
    return best[1] if best else None


def _dotted(key: str) -> list[str]:
    """Split a TOML key at the dots outside its quotes."""
    return [part.strip().strip('"') for part in re.findall(r'"[^"]+"|[^.]+', key)]

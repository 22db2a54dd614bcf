"""The file that a user writes, laid over the one that comes with the package."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from dpbench.planning.invalid import InvalidConfig

__all__ = ["FILE_NAME", "Layers", "packaged_text", "read_layers"]

FILE_NAME = "benchmarks.toml"
Tables = dict[str, Any]


@dataclass(frozen=True)
class Layers:
    """What the files say together, and the text and name of the one on top.

    Attributes:
        own: what the file on top says, as it stands there.
        below: the same of the packaged one, where that is underneath.
    """

    tables: Tables
    text: str
    source: str
    own: Tables
    below: Tables

    def origin(self, path: tuple[str, ...]) -> str:
        """Name where the value at ``path`` comes from: a file, a grid that is extended, or none."""
        for source, tables in ((self.source, self.own), (_PACKAGED, self.below)):
            if _holds(tables, path):
                return source
        above = self._extended(path[:2])
        return self.origin(("grids", above, *path[2:])) if above else "default"

    def writes(self, place: tuple[str | int, ...]) -> bool:
        """Say whether a file spells out what is at ``place``, or a value that holds it."""
        return any(_reaches(tables, place) for tables in (self.own, self.below))

    def _extended(self, grid: tuple[str, ...]) -> str | None:
        """Return the grid that the one at this path extends."""
        for tables in (self.own, self.below) if grid[:1] == ("grids",) else ():
            if _holds(tables, (*grid, "extends")):
                return str(tables["grids"][grid[1]]["extends"])
        return None


def read_layers(path: Path | None) -> Layers:
    """Read ``path`` over the packaged file; grids that extend others are written out.

    ``path`` defaults to ``benchmarks.toml`` in the working directory. Tables are merged
    key by key, everything else is replaced. A file with ``packaged = false`` stands alone.

    Raises:
        InvalidConfig: a file that cannot be read or is not TOML, grids that extend each other.
    """
    text, source = _read(path)
    try:
        return _layers(text, source)
    except RecursionError as error:
        raise InvalidConfig(
            f"{source} is nested, or its grids extend each other, too deeply: simplify it"
        ) from error


def _layers(text: str, source: str) -> Layers:
    own = _parse(text, source)
    base = {} if own.get("packaged") is False else _parse(packaged_text(), _PACKAGED)
    merged = _merge(_name_protocols(base), _name_protocols(own))
    return Layers(_extend_grids(merged, source), text, source, own, base)


_PACKAGED = f"{FILE_NAME} (packaged)"


def packaged_text() -> str:
    """Return the file that comes with the package."""
    packaged = resources.files("dpbench") / FILE_NAME
    if not packaged.is_file():  # an editable install: the file is beside the package
        packaged = Path(__file__).parents[2] / FILE_NAME
    return packaged.read_text(encoding="utf-8")


def _read(path: Path | None) -> tuple[str, str]:
    if path is None:
        path = Path(FILE_NAME)
        if not path.exists():
            return packaged_text(), _PACKAGED
    try:
        return path.read_text(encoding="utf-8-sig"), str(path)
    except (OSError, ValueError) as error:
        raise InvalidConfig(f"cannot read {path}: {error}; name another with --config") from error


def _parse(text: str, source: str) -> Tables:
    try:
        return tomllib.loads(text)
    except ValueError as error:  # more than what is no TOML: a number of too many digits
        raise InvalidConfig(f"{source} is not valid TOML: {error}") from error


def _name_protocols(raw: Tables) -> Tables:
    """A protocol's name is its table's; nobody should have to write it twice."""
    tables = raw.get("protocols")
    if not isinstance(tables, dict):
        return raw
    named = {
        name: {"name": name, **table} if isinstance(table, dict) else table
        for name, table in tables.items()
    }
    return {**raw, "protocols": named}


def _extend_grids(raw: Tables, source: str) -> Tables:
    """Write out grids that extend others, which may do so themselves."""
    grids = raw.get("grids")
    if not isinstance(grids, dict):
        return raw

    def full(name: str, above: tuple[str, ...] = ()) -> Any:
        if name in above:
            chain = " extends ".join((*above, name))
            raise InvalidConfig(f"{source}: {chain}: leave one `extends` out")
        grid = grids[name]
        extends = grid.get("extends") if isinstance(grid, dict) else None
        if not isinstance(extends, str) or not isinstance(grids.get(extends), dict):
            return grid
        return _merge(full(extends, (*above, name)), grid)

    return {**raw, "grids": {name: full(name) for name in grids}}


def _holds(tables: Any, path: tuple[str, ...]) -> bool:
    """Say whether there is something at ``path``."""
    for part in path:
        if not isinstance(tables, dict) or part not in tables:
            return False
        tables = tables[part]
    return True


def _reaches(tables: Any, place: tuple[str | int, ...]) -> bool:
    """Say whether ``place`` leads to something, or into a value that is no table."""
    for part in place:
        if not isinstance(tables, dict):
            return True
        if part not in tables:
            return False
        tables = tables[part]
    return True


def _merge(base: Tables, over: Tables) -> Tables:
    """Return ``base`` with ``over`` on top, tables merged key by key."""
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = _merge(below, value) if both else value  # type: ignore[arg-type]
    return merged

"""The valid part of a configuration: a mistake in one place hides none in another."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pydantic import BaseModel, ValidationError

from dpbench.errors import did_you_mean
from dpbench.planning.invalid import Place, Violation, explain
from dpbench.planning.layers import Layers

__all__ = ["once", "valid_part", "without"]

Tables = dict[str, Any]


def valid_part(
    model: type[BaseModel], tables: Tables, sections: Collection[str]
) -> tuple[Tables | None, list[Violation]]:
    """Return ``tables`` without what ``model`` refuses, and everything that is wrong.

    ``sections`` are those that hold tables by name; where one of these is none itself, too
    much that others refer to is lacking, and nothing is returned.
    """
    found = _unknown_grids(tables)
    tables = _filled(tables, [grid for grid in _grids(tables) if _is_orphan(tables, grid)])
    try:
        model.model_validate(tables)
    except ValidationError as error:
        wrong = list(explain(error, model))
        places = [place for place, _ in wrong]
        if any(place[:1] and place[0] in sections and len(place) <= 2 for place in places):
            return None, found + wrong
        grids = [str(name) for section, name, *_ in filter(_is_inner, places) if section == "grids"]
        tables = _filled(without(tables, places), grids)
        return (tables if _is_valid(model, tables) else None), found + wrong
    return tables, found


def without(tables: Tables, places: Iterable[Place]) -> Tables:
    """Return ``tables`` without the values at ``places``; a whole table is left as it is."""
    for place in places:
        tables = _without(tables, place)
    return tables


def _without(table: Tables, place: Place) -> Tables:
    """Return a copy as far as ``place`` leads: values may be nested deeper than can be copied."""
    if not place:
        return table
    name, *inside = place
    inner = table.get(str(name))
    if isinstance(inner, dict):
        return {**table, str(name): _without(inner, tuple(inside))}
    return {key: value for key, value in table.items() if key != name}


def once(layers: Layers, found: list[Violation]) -> list[Violation]:
    """Leave out what a grid has only from one that it extends, which is told of that one."""
    told = {repr(violation) for violation in found}
    grids = _grids(layers.tables)

    def is_inherited(place: Place, message: str) -> bool:
        if not _is_inner(place) or place[0] != "grids":
            return False
        above = grids.get(str(place[1]), {}).get("extends")
        return repr((("grids", above, *place[2:]), message)) in told and not layers.writes(place)

    kept = {repr(v): v for v in found if not is_inherited(*v)}
    return list(kept.values())


def _is_inner(place: Place) -> bool:
    """Whether it is in a table of a section: a section, and the whole file, are places too."""
    return len(place) > 1


def _unknown_grids(tables: Tables) -> list[Violation]:
    """Find the grids that extend one that is not there."""
    grids = tables.get("grids")
    return [
        (
            ("grids", name, "extends"),
            f"unknown grid {extends!r}{did_you_mean(extends, _grids(tables))}",
        )
        for name, grid in _grids(tables).items()
        if isinstance(extends := grid.get("extends"), str) and extends not in (grids or ())
    ]


def _is_orphan(tables: Tables, name: str) -> bool:
    """Say whether what a grid extends, itself or through others, cannot be told."""
    grids = _grids(tables)
    while (above := grids[name].get("extends")) is not None:
        if not isinstance(above, str) or above not in grids:
            return True
        name = above
    return False


def _filled(tables: Tables, names: Iterable[str]) -> Tables:
    """Give grids of these names what every grid must say: its lack is no second mistake."""
    filled = dict(_grids(tables))
    for name in names:
        if name in filled:
            filled[name] = {"clip": [1.0], "epsilon": [1.0], **filled[name]}
    return {**tables, "grids": {**tables["grids"], **filled}} if filled else tables


def _is_valid(model: type[BaseModel], tables: Tables) -> bool:
    try:
        model.model_validate(tables)
    except ValidationError:
        return False
    return True


def _grids(tables: Tables) -> dict[str, Tables]:
    grids = tables.get("grids")
    grids = grids if isinstance(grids, dict) else {}
    return {name: grid for name, grid in grids.items() if isinstance(grid, dict)}

"""A configuration as it applies: what files say, and the defaults of all else."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from dpbench.errors import UnknownName
from dpbench.planning.config import HARNESS, SECTIONS, Config, ConfigFile
from dpbench.planning.invalid import InvalidConfig, InvalidParams
from dpbench.planning.layers import packaged_text
from dpbench.planning.toml import to_toml

__all__ = ["effective", "starter", "table_of"]

#: Keys and tables that are not of plugins, protocols or grids.
_OWN = {*ConfigFile.model_fields} - {*SECTIONS, "protocols", "grids", "packaged"}
_HEAD = """\
# Laid over the configuration that comes with dpbench, key by key: write only what is to
# be otherwise. `dpbench config show` prints what applies, `dpbench config check` finds
# mistakes, docs/configuration.md explains every key.

"""
_EXAMPLE = """
# A grid of your own: `dpbench run --grid mine`.
# [grids.mine]
# extends = "all"
# methods = ["ae-enc-*", "vae[steps=100|200]"]
# epsilon = [1, inf]
# clip = [1.0]
# seeds = [0, 1, 2]
"""


def effective(config: Config) -> dict[str, Any]:
    """Return all that applies, nested as in the file: every key, every usable component."""
    file = config.file
    tables = file.model_dump(include={*_OWN, "packaged"})
    for section in SECTIONS:
        tables[section] = dict(_components(config, section))
    tables["protocols"] = {n: p.model_dump(exclude={"name"}) for n, p in file.protocols.items()}
    tables["grids"] = {name: g.model_dump(exclude_unset=True) for name, g in file.grids.items()}
    return tables


def _components(config: Config, section: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in config.names(section):
        try:
            component = config.component(section, name)
        except (InvalidConfig, InvalidParams):  # bare, it has to be told something: a path, say
            continue
        alias = {"plugin": component.plugin} if component.plugin != name else {}
        told = getattr(config.file, section).get(name, {}) if section == "datasets" else {}
        yield name, alias | {k: told[k] for k in HARNESS if k in told} | component.params


def table_of(tables: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the part of ``tables`` at a dotted path, inside the tables that lead there.

    Raises:
        UnknownName: there is no such table or key.
    """
    inner: Any = tables
    parts = path.split(".")
    for part in parts:
        if not isinstance(inner, dict) or part not in inner:
            raise UnknownName("table or key", part, inner if isinstance(inner, dict) else ())
        inner = inner[part]
    for part in reversed(parts):
        inner = {part: inner}
    return dict(inner)


def starter() -> str:
    """Return a file to start from: every key outside the plugins' tables, as a comment."""
    packaged = tomllib.loads(packaged_text())
    own = {key: packaged[key] for key in packaged.keys() & _OWN}
    defaults = ConfigFile.model_validate(own).model_dump(include=_OWN)
    lines = to_toml(defaults).splitlines()
    return _HEAD + "\n".join(f"# {line}" if line else "" for line in lines) + "\n" + _EXAMPLE

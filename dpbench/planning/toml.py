"""Tables as TOML that a person can edit; the standard library only reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["to_toml", "toml_value"]


Path = tuple[str, ...]
"""The names of a key's tables, and its own."""


def to_toml(tables: Mapping[str, Any], remark: Callable[[Path], str] | None = None) -> str:
    """Write nested tables; what is ``None``, for which TOML has no word, is a comment.

    ``remark`` says what stands in a comment behind the value at a path.

    >>> print(to_toml({"seeds": [0, 1], "limits": {"seconds": 9.5, "memory_gib": None}}))
    seeds = [0, 1]
    <BLANKLINE>
    [limits]
    seconds = 9.5
    # memory_gib is not set
    <BLANKLINE>
    """
    return "\n".join(_lines((), tables, remark)).lstrip("\n") + "\n"


def toml_value(value: Any) -> str:
    """Write a value on one line.

    >>> toml_value({"a": [True, float("inf")], "b c": 'say "x"'})
    '{ a = [true, inf], "b c" = "say \\\\"x\\\\"" }'
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    return repr(value)


def _lines(
    path: Path, table: Mapping[str, Any], remark: Callable[[Path], str] | None
) -> Iterator[str]:
    """Yield a table's own keys under its heading, then the tables in it."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    own = {key: value for key, value in table.items() if key not in inner}
    if path and (own or not inner):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in own.items():
        line = f"# {key} is not set" if value is None else f"{_key(key)} = {toml_value(value)}"
        yield f"{line}  # {remark((*path, key))}" if remark and value is not None else line
    for key, value in inner.items():
        yield from _lines((*path, key), value, remark)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)

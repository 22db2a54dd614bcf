"""JSON, or TOML, with another value at one place: what a hand or a disk may do to a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["places", "with_odd"]


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every value within."""
    yield at
    if isinstance(content, list):
        content = dict(enumerate(content))
    for name, value in content.items() if isinstance(content, dict) else ():
        yield from places(value, (*at, name))


def with_odd(content: Any, at: tuple[Any, ...], odd: Any) -> Any:
    """Return the content with another value at a place."""
    if not at:
        return odd
    copy = dict(content) if isinstance(content, dict) else list(content)
    copy[at[0]] = with_odd(content[at[0]], at[1:], odd)
    return copy

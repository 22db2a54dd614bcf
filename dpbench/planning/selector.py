"""How methods are named: by name, glob or component, with hyperparameters in brackets."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dpbench.errors import DpbenchError, did_you_mean

__all__ = ["InvalidSelector", "Named", "Selector"]


class InvalidSelector(DpbenchError):
    """Brackets behind a method's name that do not read ``key=value``."""


class Named(Protocol):
    """What can be selected: a method that is planned, or a row of results."""

    @property
    def name(self) -> str: ...
    @property
    def components(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Selector:
    """Methods by name, by a glob of names or by a component, and hyperparameters for them.

    Attributes:
        pattern: such as ``ae-enc-VAE``, ``ae-*`` or ``vae``; case does not count.
        params: values by hyperparameter; several values make an axis.

    >>> Selector.parse("vae[hidden=64|128,prior=mixture]")
    Selector(pattern='vae', params={'hidden': [64, 128], 'prior': ['mixture']})
    """

    pattern: str
    params: dict[str, list[Any]]

    @classmethod
    def parse(cls, text: str) -> Selector:
        """Read ``PATTERN`` or ``PATTERN[key=value,key=value|value]``; values are TOML or words.

        Raises:
            InvalidSelector: the brackets hold something else.
        """
        bracketed = re.fullmatch(r"([^\[]*)\[(.*=.*)\]", text.strip())
        if bracketed is None:
            return cls(text.strip(), {})
        params = {}
        for part in _split(bracketed[2], ","):
            key, equals, values = part.partition("=")
            if not (key.strip() and equals and values.strip()):
                raise InvalidSelector(f"{text!r}: write NAME[key=value,key=value|value]")
            params[key.strip()] = [_value(value) for value in _split(values, "|")]
        return cls(bracketed[1].strip() or "*", params)

    def matches(self, method: Named) -> bool:
        """Say whether a method, or one of its components, is named."""
        pattern, components = self.pattern.lower(), map(str.lower, method.components)
        return fnmatch.fnmatchcase(method.name.lower(), pattern) or pattern in components

    def unknown_among(self, methods: Sequence[Named]) -> str:
        """Return what to tell a user where nothing matches; nothing where something does."""
        if any(map(self.matches, methods)):
            return ""
        names = sorted({method.name for method in methods})
        near = [*names, *sorted({name for method in methods for name in method.components})]
        return (
            f"unknown method {self.pattern!r}{did_you_mean(self.pattern, near)} "
            f"(methods: {', '.join(names) or 'none'})"
        )


def _split(text: str, separator: str) -> Iterator[str]:
    """Split outside brackets and quotes."""
    depth, quote, start = 0, "", 0
    for place, letter in enumerate(text):
        if quote or letter in "\"'":
            quote = "" if letter == quote else quote or letter
        depth += (letter in "[{") - (letter in "]}")
        if letter == separator and not (depth or quote):
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _value(text: str) -> Any:
    """Read a TOML value; what is none is a word."""
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()

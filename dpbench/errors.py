"""The one error that means "the user can fix this"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DpbenchError", "UnknownName", "did_you_mean"]


class DpbenchError(Exception):
    """An expected failure: its message is one line that names cause and remedy.

    The command line prints the message without a traceback and exits with 2.
    Subclasses live beside the code that raises them.
    """


class UnknownName(DpbenchError):
    """A name that is not registered or configured; suggests the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        super().__init__(
            f"unknown {kind} {name!r}{did_you_mean(name, choices)} "
            f"(known: {', '.join(choices) or 'none'})"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, else ``""``."""
    lowered = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""

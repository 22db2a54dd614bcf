"""The one error that means "the user can fix this"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DpbenchError", "UnknownName", "did_you_mean", "one_line"]


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


def one_line(error: BaseException, most: int = 1000) -> str:
    """Return the first line of an error's message, at most ``most`` characters, safe to write."""
    try:
        lines = str(error).split("\n", 1)
    except BaseException as problem:  # the message is a stranger's code as well
        lines = [f"its message cannot be read ({type(problem).__name__})"]
    line = lines[0].strip().encode(errors="backslashreplace").decode()
    return line if len(line) <= most else line[: most - 1] + "…"

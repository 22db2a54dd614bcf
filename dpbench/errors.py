"""The one error that means "the user can fix this"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["DpbenchError", "UnknownName", "did_you_mean", "one_line", "printable", "told"]


class DpbenchError(Exception):
    """An expected failure: its message is one line that names cause and remedy.

    The command line prints the message without a traceback and exits with 2.
    Subclasses live beside the code that raises them.
    """


class UnknownName(DpbenchError):
    """A name that is not registered or configured; suggests the nearest ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str], note: str = "") -> None:
        choices = sorted(known)
        super().__init__(
            f"unknown {kind} {name!r}{did_you_mean(name, choices)} "
            f"(known: {', '.join(choices) or 'none'}){note}"
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest known name, else ``""``."""
    lowered = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    return f"; did you mean {lowered[close[0]]!r}?" if close else ""


def one_line(error: BaseException, most: int = 1000) -> str:
    """Return the first line of an error's message, at most ``most`` characters, safe to show."""
    try:
        text = str(error)
    except BaseException as problem:  # the message is a stranger's code as well
        text = f"its message cannot be read ({type(problem).__name__})"
    line = printable(text.strip()[: most + 1].split("\n", 1)[0].strip())
    return line if len(line) <= most else line[: most - 1] + "…"


def told(error: BaseException) -> str:
    """Return why something failed: an expected error's message; else its kind and message."""
    kind = printable(type(error).__name__)
    line = one_line(error)
    if isinstance(error, DpbenchError):
        return line or f"{kind} without a message"
    return f"{kind}: {line}" if line else kind


def printable(text: str) -> str:
    r"""Write out what a terminal would obey, or a file could not hold.

    >>> printable("red: \x1b[31m")
    'red: \\x1b[31m'
    """
    if text.isprintable():  # nearly always, and ten thousand rows have a million letters
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

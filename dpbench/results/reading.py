"""Results as JSON; of files that may be damaged, each is read, or named with the reason."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from dpbench.errors import DpbenchError, printable, told
from dpbench.store import read_file

__all__ = ["SetAside", "Unreadable", "explain", "finite", "read_each", "read_json", "to_json"]

T = TypeVar("T")


class Unreadable(DpbenchError):
    """A file that does not hold what it should; the message is the reason."""


@dataclass(frozen=True)
class SetAside:
    """A file (or a part of one) that is left out of what is shown, and why."""

    file: str
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.reason}")


def to_json(model: BaseModel, **choice: Any) -> Any:
    """Return what ``json.dump`` writes of ``model``; JSON has no infinity: it is ``"inf"``."""
    return finite(model.model_dump(mode="json", **choice))


def finite(content: Any) -> Any:
    """Return JSON's content with infinities and NaN as text, which JSON does not have."""
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return str(content)
    return content


def read_json(path: Path, read: Callable[[Path], bytes] = read_file) -> Any:
    """Return the content of ``path``, whose bytes ``read`` gives.

    Raises:
        Unreadable: the file cannot be read, or is not JSON.
    """
    try:
        data = read(path)
        content = json.loads(data)
        if b"\\u" in data:  # JSON can spell half a character, which cannot be shown
            json.dumps(content, ensure_ascii=False).encode()
        return content
    except OSError as error:
        raise Unreadable(f"cannot be read ({error.strerror or error})") from error
    except UnicodeError as error:
        raise Unreadable("not text: its bytes are damaged") from error
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON ({error})") from error


def read_each(paths: Iterable[Path], read: Callable[[Path], T]) -> tuple[list[T], list[SetAside]]:
    """Read what can be read, and name the rest."""
    found: list[T] = []
    left: list[SetAside] = []
    for path in paths:
        try:
            found.append(read(path))
        except Exception as error:  # whatever damage does to older versions' rows
            left.append(SetAside(printable(f"{path.parent.name}/{path.name}"), explain(error)))
    return found, left


def explain(error: Exception) -> str:
    """Return the reason as one line; of several violations, the first and their number."""
    if not isinstance(error, ValidationError):
        return told(error)
    first, *more = error.errors(include_url=False, include_context=False, include_input=False)
    where = ".".join(map(str, first["loc"]))
    rest = f" (and {len(more)} more)" if more else ""
    unknown = first["type"] == "extra_forbidden"
    message = "unknown key" if unknown else first["msg"][:1].lower() + first["msg"][1:]
    return ": ".join(filter(None, (where, message))) + rest

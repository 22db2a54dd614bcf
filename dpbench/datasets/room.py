"""How much may be read: asked of what a file declares, before any of it is decoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dpbench.errors import DpbenchError

__all__ = ["DEFAULT_GIB", "MaxGib", "TooLarge", "lies_at", "require_room"]

#: Images as ``uint8`` in memory, unless the configuration allows more.
DEFAULT_GIB = 2.0
MaxGib = Annotated[float, Field(gt=0)]


class TooLarge(DpbenchError):
    """Images that would take more memory than allowed; nothing of them was read."""


def require_room(what: str, shape: Sequence[int], max_gib: float) -> None:
    """Raise unless an array of bytes of this shape may be made.

    Raises:
        TooLarge: it would take more than ``max_gib`` GiB.
    """
    gib = math.prod(shape) / 2**30
    if gib > max_gib:
        raise TooLarge(
            f"{what} would take {gib:,.2f} GiB, more than {max_gib:g}: raise max_gib of the data "
            "set if that is meant"
        )


def lies_at(path: Path) -> Path:
    """Return where a configured path lies, ``~`` written out where there is such a home."""
    try:
        return path.expanduser()
    except RuntimeError:  # no such user: a name like any other
        return path

"""What a check is, and how it says that a promise is broken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dpbench.errors import DpbenchError

__all__ = [
    "CHECKS",
    "KINDS",
    "Broken",
    "Check",
    "Figures",
    "NotRun",
    "checking",
    "refusable",
    "require",
]

KINDS = ("dataset", "public", "extractor", "generator", "metric", "evaluator", "executor")
"""Kinds of plugin, as :attr:`dpbench.api.Plugin.kind` names them."""

Figures = Mapping[str, float]
"""What a check measured, by name and unit (``"seconds a step"``)."""
Body = Callable[[Any], Figures | None]
B = TypeVar("B", bound=Body)


class Broken(DpbenchError):
    """A promise that the plugin does not keep; the message says how it shows."""


class NotRun(DpbenchError):
    """A check that cannot say anything here; the message is the reason."""


@dataclass(frozen=True)
class Check:
    """One promise of a kind of plugin, and the code that tries it.

    Attributes:
        name: what reports and declarations call it.
        promise: one sentence.
        run: gets the subject; raises :class:`Broken`, or :class:`NotRun`, or whatever
            the plugin raised, which breaks the promise too.
    """

    name: str
    promise: str
    run: Body


#: All checks by kind, in the order in which they run.
CHECKS: dict[str, list[Check]] = {kind: [] for kind in KINDS}


def checking(*kinds: str) -> Callable[[B], B]:
    """Make a function the check of its name; the docstring's first line is the promise."""

    def add(body: B) -> B:
        promise = (body.__doc__ or "").strip().splitlines()[0]
        check = Check(body.__name__.strip("_").replace("_", "-"), promise, body)
        for kind in kinds:
            CHECKS[kind].append(check)
        return body

    return add


def require(kept: bool, problem: str) -> None:
    """Raise :class:`Broken` with ``problem`` unless ``kept``."""
    if not kept:
        raise Broken(problem)


@contextlib.contextmanager
def refusable() -> Iterator[None]:
    """Let the plugin refuse what the block asks, with a :class:`DpbenchError`: nothing is known.

    Only where the harness can live with a refusal: the trial then tells the reason.
    """
    try:
        yield
    except (Broken, NotRun):
        raise
    except DpbenchError as refusal:
        raise NotRun(f"it refuses: {refusal}") from refusal

"""Everything that leaves a fit, and how two fits are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dpbench.privacy.handle import Budget

__all__ = ["COMPARED", "NOT_COMPARED", "Observed", "difference"]

COMPARED = (
    "order and parameters of releases",
    "sums before noise",
    "noise against the ledger",
    "ledger",
    "state",
    "samples, also of a restored copy",
    "snapshots",
    "progress",
    "errors",
    "files read of the store",
)
NOT_COMPARED = (
    "what only a longer fit does",
    "time",
    "memory outside the generator's class and module",
    "files written, sockets and other processes",
    "what a generator does where it knows that it is replayed",
)


@dataclass
class Observed:
    """What one trial of a fit let out.

    ``error`` is the exception that ended it; the fields after it are then empty.
    """

    snapshots: list[tuple[int, Tensor]] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    error: str | None = None
    budget: Budget | None = None
    ledger: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Tensor] = field(default_factory=dict)
    samples: dict[str, Tensor] = field(default_factory=dict)

    def picture(self, step: int, latents: Tensor) -> None:
        """Keep one snapshot."""
        self.snapshots.append((step, latents.clone()))


def difference(
    first: Observed, second: Observed, tolerance: float = 0.0, company: bool = False
) -> str | None:
    """Return what differs between two fits of one trial, or ``None``.

    Tensors may differ by ``tolerance``, relative in L2 norm. With ``company`` the
    fits had different trials beside them, which may report progress for each other.
    """
    if first.error != second.error:
        return "whether or how the fit fails"
    if first.ledger != second.ledger:
        return "the ledger"
    for what, old, new in (
        ("the state", first.state, second.state),
        ("the samples", first.samples, second.samples),
    ):
        if list(old) != list(new):
            return f"the names in {what}"
        changed = next((k for k in old if not _same(old[k], new[k], tolerance)), None)
        if changed is not None:
            return f"{what} ({changed!r})"
    if not _same_pictures(first.snapshots, second.snapshots, tolerance):
        return "the snapshots"
    if not company and first.progress != second.progress:
        return "the reported progress"
    return None


def _same_pictures(
    first: Sequence[tuple[int, Tensor]], second: Sequence[tuple[int, Tensor]], tolerance: float
) -> bool:
    return [step for step, _ in first] == [step for step, _ in second] and all(
        _same(old, new, tolerance) for (_, old), (_, new) in zip(first, second, strict=True)
    )


def _same(first: Tensor, second: Tensor, tolerance: float) -> bool:
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if torch.equal(first.isnan(), second.isnan()) and torch.equal(
        first.nan_to_num(), second.nan_to_num()
    ):
        return True
    old, new = first.double(), second.double()
    return bool(tolerance) and bool((old - new).norm() <= tolerance * old.norm())

"""One trial of a leaderboard, with what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpbench.errors import DpbenchError
from dpbench.results import Result
from dpbench.store import CorruptArtifact, Store

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FinishedTrial", "the_one"]

#: What tells apart results that a user may mean.
FIELDS = ("method", "dataset", "settings", "labels", "epsilon", "noise_multiplier", "clip", "seed")


@dataclass(frozen=True)
class FinishedTrial:
    """A trial, or a control, and the runs directory that keeps its artifacts.

    Attributes:
        result: its row.
        runs: where its artifacts are; ``None`` where they are not at hand.
    """

    result: Result
    runs: Path | None

    @property
    def metrics(self) -> dict[str, float]:
        """Its figures, by column."""
        return dict(self.result.metrics)

    @property
    def samples(self) -> Tensor:
        """The images kept of those that were scored: ``uint8``, ``[N, C, H, W]``, N <= 100.

        Raises:
            DpbenchError: there are none, with the reason.
        """
        return self._kept()["preview"]

    @property
    def labels(self) -> Tensor | None:
        """The classes of :attr:`samples`, ``int64`` ``[N]``; ``None`` where they have none.

        Raises:
            DpbenchError: there are no samples, with the reason.
        """
        kept = self._kept()
        return kept["labels"][: len(kept["preview"])] if "labels" in kept else None

    def _kept(self) -> dict[str, Tensor]:
        key = self.result.artifacts.get("features")
        store = Store(self.runs / "artifacts") if self.runs else None
        if store is None or not key or not store.has("features", key):
            reason = self.result.reason or "its artifacts are not in the runs directory"
            raise DpbenchError(f"no samples of {self.result.method} are kept ({reason})")
        try:
            return store.load("features", key).tensors
        except CorruptArtifact as error:
            raise DpbenchError(f"{error}: the same run makes it again") from error


def the_one(results: Sequence[Result], **wanted: Any) -> Result:
    """Return the result whose fields are as ``wanted``; ``None`` leaves a field open.

    Raises:
        DpbenchError: none is, or several are; the message says in what these differ.
    """
    asked = {name: value for name, value in wanted.items() if value is not None}
    found = [r for r in results if all(_field(r, name) == asked[name] for name in asked)]
    if len(found) == 1:
        return found[0]
    told = found or results
    open_fields = {
        name: sorted({_field(result, name) for result in told}, key=str)
        for name in (*FIELDS, "protocol")
    }
    differ = [f"{name} of {vs}" for name, vs in open_fields.items() if len(vs) > 1]
    count = f"{len(found)} trials match" if found else f"no trial has {asked}"
    raise DpbenchError(f"{count}: name {'; '.join(differ) or 'what is on the board'}")


def _field(result: Result, name: str) -> Any:
    return result.protocol["name"] if name == "protocol" else getattr(result, name)

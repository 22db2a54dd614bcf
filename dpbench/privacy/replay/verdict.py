"""What a replay found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["Outcome", "ReplayVerdict"]

Outcome = Literal["passed", "failed", "not-replayed"]


class ReplayVerdict(BaseModel):
    """Whether a fit depends on private records through its recorded releases alone.

    It names no figure of private data: an honest generator's verdict is the same
    whatever the records are.

    Attributes:
        verdict: ``passed``; ``failed`` (something leaks around the handle, or the
            releases are not what the ledger says); ``not-replayed`` (nothing can be
            said, for ``reason``).
        reason: one line for every verdict.
        records: how many records the replayed fits had.
        lanes: how many trials were fitted together; 1 leaves company untested.
        releases: how many releases were recorded and played back.
        compared: what was the same in every fit.
        not_compared: what a replay does not see.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    verdict: Outcome
    reason: str = ""
    records: int = 0
    lanes: int = 0
    releases: int = 0
    compared: tuple[str, ...] = ()
    not_compared: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"

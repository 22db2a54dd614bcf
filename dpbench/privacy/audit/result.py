"""What an audit found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

__all__ = ["AuditKind", "AuditResult"]

AuditKind = Literal["many-run", "one-run"]


class AuditResult(BaseModel):
    """A lower bound on epsilon, beside the epsilon that the ledger states.

    Attributes:
        epsilon_claimed: composed from the ledger; the larger of two accountants.
        epsilon_lower: with probability ``confidence``, the true epsilon is at
            least this. Zero means that nothing was learned, not that all is well.
        epsilon_ceiling: what the bound would be if every guess were right: with
            so few runs or guesses no larger epsilon can ever be refuted.
        runs: trainings used; those of a many-run audit choose the test with one
            half and bound epsilon with the other.
        score: what the attacker looked at.
        correct, guesses: right guesses, out of how many.
        refuted: the claim is false (``epsilon_lower > epsilon_claimed``).
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    kind: AuditKind
    epsilon_claimed: float
    epsilon_lower: float
    epsilon_ceiling: float
    delta: float
    confidence: float
    runs: int
    canaries: int
    records: int
    score: str
    correct: int
    guesses: int

    @property
    def refuted(self) -> bool:
        return self.epsilon_lower > self.epsilon_claimed

    def __str__(self) -> str:
        verdict = "REFUTED" if self.refuted else "not refuted"
        return (
            f"{verdict}: epsilon >= {self.epsilon_lower:.3g} ({self.confidence:.0%} confidence), "
            f"claimed {self.epsilon_claimed:.4g}; {self.kind}, {self.runs} run(s), "
            f"{self.correct}/{self.guesses} right by {self.score} "
            f"(at best {self.epsilon_ceiling:.3g} could be shown)"
        )

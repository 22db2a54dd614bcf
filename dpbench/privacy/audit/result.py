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
        epsilon_lower_gdp: the same under one assumption: that the trade-off between
            missing a canary and a false alarm is that of two Gaussians of equal variance
            (mu-GDP), as with a sum of full batches; subsampled steps come near it. It
            reaches further, because a test's errors then bound it at every epsilon.
        claim_is_gaussian: the ledger itself states mu-GDP, for no mechanism
            subsampled. Then ``epsilon_lower_gdp`` above the claim refutes the ledger
            without any assumption.
        epsilon_ceiling: what the bound would be if every guess were right: with
            so few runs or guesses no larger epsilon can ever be refuted without
            assumptions.
        runs: trainings used, of which a many-run audit chooses the test by some and
            bounds epsilon by the others.
        score: what the attacker looked at.
        correct, guesses: right guesses, out of how many.
        refuted: the claim is false, at ``confidence``.
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
    epsilon_lower_gdp: float | None = None
    claim_is_gaussian: bool = False

    @property
    def refuted(self) -> bool:
        sound = [self.epsilon_lower]
        if self.claim_is_gaussian and self.epsilon_lower_gdp is not None:
            sound.append(self.epsilon_lower_gdp)
        return max(sound) > self.epsilon_claimed

    def __str__(self) -> str:
        verdict = "REFUTED" if self.refuted else "not refuted"
        fit = self.epsilon_lower_gdp
        gaussian = "" if fit is None else f", {fit:.3g} by a Gaussian-DP fit"
        return (
            f"{verdict}: epsilon >= {self.epsilon_lower:.3g}{gaussian} "
            f"({self.confidence:.0%} confidence), "
            f"claimed {self.epsilon_claimed:.4g}; {self.kind}, {self.runs} run(s), "
            f"{self.correct}/{self.guesses} right by {self.score} "
            f"(at best {self.epsilon_ceiling:.3g} could be shown)"
        )

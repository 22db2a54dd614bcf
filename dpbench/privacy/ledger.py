"""The ledger: every use of private data, in the terms an accountant composes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Ledger", "Mechanism", "Trust"]

Trust = Literal["ledger", "self-declared"]


class Mechanism(BaseModel):
    """``count`` uses of one Gaussian mechanism on a Poisson sample.

    Each use adds N(0, (noise_multiplier * sensitivity)^2 I) to a sum in which
    one record moves at most ``sensitivity`` in L2 norm, after including each
    record independently with probability ``sampling_rate``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    noise_multiplier: float = Field(ge=0, description="noise std / sensitivity; 0 is no privacy")
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    count: int = Field(default=1, ge=1)
    sensitivity: float = Field(default=1.0, gt=0, description="L2, add/remove of one record")


class Ledger(BaseModel):
    """What a trial did to its private data, in order.

    ``trust`` is ``"ledger"`` when the harness itself applied every mechanism,
    ``"self-declared"`` when the generator asked for raw latents.
    ``inclusions`` holds, per subsampled mechanism, the figures that the
    run-time test of sampling against accounting looks at.
    """

    model_config = ConfigDict(extra="forbid")

    mechanisms: list[Mechanism] = []
    trust: Trust = "ledger"
    inclusions: list[dict[str, float]] = []

    def record(self, mechanism: Mechanism) -> None:
        """Append ``mechanism``; equal consecutive ones are merged by count."""
        if self.mechanisms:
            last = self.mechanisms[-1]
            if last.model_copy(update={"count": mechanism.count}) == mechanism:
                merged = last.model_copy(update={"count": last.count + mechanism.count})
                self.mechanisms[-1] = merged
                return
        self.mechanisms.append(mechanism)

    def declare(self, mechanisms: Iterable[Mechanism]) -> None:
        """Record what a generator with raw access says it will do."""
        self.trust = "self-declared"
        self.mechanisms.extend(mechanisms)

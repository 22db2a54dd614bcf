"""The ledger: every use of private data, in the terms an accountant composes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Ledger", "Mechanism", "Trust", "check_inclusions", "joined"]

Trust = Literal["ledger", "self-declared"]


class Mechanism(BaseModel):
    """``count`` uses of one Gaussian mechanism on a Poisson sample.

    Each use adds N(0, (noise_multiplier * sensitivity)^2 I) to a sum of
    contributions, after including each record independently with probability
    ``sampling_rate``. Replacing one record by the null record, which contributes
    nothing, moves the sum by at most ``sensitivity`` in L2 norm.

    With ``classes`` > 1 it is used once on each of so many disjoint classes of records.
    A record is in one class, so that all of them together cost what one costs
    (parallel composition; McSherry 2009).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    noise_multiplier: float = Field(ge=0, description="noise std / sensitivity; 0 is no privacy")
    sampling_rate: float = Field(default=1.0, gt=0, le=1)
    count: int = Field(default=1, ge=1)
    sensitivity: float = Field(
        default=1.0, gt=0, description="L2, replacing one record by the null record"
    )
    classes: int = Field(
        default=1, ge=1, description="disjoint classes of records that each use goes over"
    )

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise in each entry."""
        return self.noise_multiplier * self.sensitivity


class Ledger(BaseModel):
    """What a trial did to its private data, in order.

    ``trust`` is ``"ledger"`` when the harness itself applied every mechanism,
    ``"self-declared"`` when the generator asked for raw latents.
    ``inclusions`` holds, per subsampled mechanism, the figures that the
    run-time test of sampling against accounting looks at. ``rng`` says where
    noise and samples came from: ``"seeded"`` is a benchmark, not a release.
    """

    model_config = ConfigDict(extra="forbid")

    mechanisms: list[Mechanism] = []
    trust: Trust = "ledger"
    inclusions: list[dict[str, float]] = []
    rng: Literal["seeded", "secure"] = "seeded"

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

    def add(self, other: Ledger) -> None:
        """Append what ``other`` holds."""
        before = len(self.mechanisms)
        self.mechanisms += other.mechanisms
        self.inclusions += [{**f, "mechanism": f["mechanism"] + before} for f in other.inclusions]
        if other.trust == "self-declared":
            self.trust = other.trust


def joined(ledgers: Sequence[Ledger]) -> Ledger:
    """Return one ledger of several releases of the same records; what they spent adds up."""
    whole = Ledger(rng=ledgers[-1].rng)
    for ledger in ledgers:
        whole.add(ledger)
    return whole


FALSE_ALARM = 1e-8
"""Probability with which honest sampling fails one of the three tests of a mechanism."""


def check_inclusions(ledger: Ledger) -> list[str]:
    """Test recorded samples against what the ledger states; return what is wrong.

    Under Poisson sampling at rate q, over T steps and N records, the total of
    inclusions is Binomial(T N, q); the counts of single records spread like
    Binomial(T, q), the batch sizes like Binomial(N, q). Shuffled epochs make the
    counts too even, fixed batch sizes have no spread at all, a wrong rate moves the
    total. Self-declared mechanisms are not observed and so not tested.
    Of a mechanism over several classes each is tested by itself.
    """
    problems: list[str] = []
    observed: dict[int, Counter[float]] = {}
    for figures in ledger.inclusions:
        index = int(figures["mechanism"])
        mechanism = ledger.mechanisms[index]
        observed.setdefault(index, Counter())[figures.get("class", 0.0)] += int(figures["steps"])
        if not math.isclose(figures["sampling_rate"], mechanism.sampling_rate, rel_tol=1e-9):
            problems.append(
                f"{mechanism.name}: sampled at rate {figures['sampling_rate']:.4g}, "
                f"accounted at {mechanism.sampling_rate:.4g}"
            )
        for test, probability in _tail_probabilities(figures).items():
            if probability < FALSE_ALARM:
                problems.append(
                    f"{mechanism.name}: {test} is not that of Poisson sampling at rate "
                    f"{figures['sampling_rate']:.4g} (probability under {FALSE_ALARM:g})"
                )
    if ledger.trust == "ledger":
        for index, mechanism in enumerate(ledger.mechanisms):
            steps = max(observed.get(index, Counter()).values(), default=0)
            unseen = mechanism.sampling_rate < 1 and steps == 0
            if unseen or steps > mechanism.count:  # to stop early is to spend less
                problems.append(
                    f"{mechanism.name}: {steps} samples seen, {mechanism.count} accounted"
                )
    return problems


def _tail_probabilities(figures: dict[str, float]) -> dict[str, float]:
    """Return the two-sided tail probability of each of the three figures."""
    from scipy.special import betainc

    rate, steps, records = (figures[key] for key in ("sampling_rate", "steps", "records"))
    if rate >= 1:
        return {"the number of inclusions": float(figures["total"] == steps * records)}
    # Tails of Binomial(trials, rate), by the incomplete beta function: trials pass 2^31.
    trials, total = steps * records, figures["total"]
    low = betainc(trials - total, total + 1, 1 - rate) if total < trials else 1.0
    high = betainc(total, trials - total + 1, rate) if total > 0 else 1.0
    return {
        "the number of inclusions": 2 * float(min(low, high)),
        "the spread over records": _spread_tail(figures["z_dispersion"], records, steps, rate),
        "the spread of batch sizes": _spread_tail(
            figures["z_batch_variance"], steps, records, rate
        ),
    }


def _spread_tail(z: float, draws: float, trials: float, rate: float) -> float:
    """Two-sided tail of a standardised sum of squared binomial deviations.

    A normal tail would raise false alarms over few draws: the sum is nearly
    chi-squared, so a gamma distribution with its mean and variance is used.
    The lower tail is widened by a quarter per draw, the most that rounding a
    normal deviate to an integer hides.
    """
    from scipy.special import gammainc, gammaincc

    variance = trials * rate * (1 - rate)
    mean = draws * variance
    excess = variance * (1 - 6 * rate * (1 - rate))
    spread = math.sqrt(max(draws * (2 * variance**2 + excess), 0.0))
    if spread == 0:  # one fair coin per draw: every outcome deviates equally
        return float(z == 0)
    shape, scale = (mean / spread) ** 2, spread**2 / mean
    value = max(mean + z * spread, 0.0)
    low = gammainc(shape, (value + draws / 4) / scale)
    return 2 * float(min(low, gammaincc(shape, value / scale)))

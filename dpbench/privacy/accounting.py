"""From a ledger to epsilon by two accountants, and from epsilon to noise.

Both accountants compose Poisson-subsampled Gaussian mechanisms under replacement of
one record by the null record, which contributes nothing; the number of records is
public. Of the relations that the accountants know, ``ADD_OR_REMOVE_ONE`` has just that
privacy loss:

* Opacus, by privacy random variables ("prv"; Gopi, Lee, Wutschitz 2021), which
  returns an upper bound; by Renyi DP ("rdp"; Mironov 2017) where PRV overflows
  or would need too fine a mesh;
* Google's dp-accounting, by privacy loss distributions ("pld"; connect-the-dots,
  Doroshenko et al. 2022), also an upper bound; by Renyi DP where that fails.

The figure that counts is the larger of the two.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from dpbench.errors import DpbenchError
from dpbench.privacy.ledger import Mechanism

__all__ = ["BudgetExhausted", "Spent", "compose", "noise_multiplier_for"]

DISAGREEMENT_LIMIT = 0.02
"""Relative difference of the accountants beyond which a result is flagged."""

Uses = tuple[tuple[float, float, int], ...]
"""(noise multiplier, sampling rate, count) of each mechanism, sorted and merged."""

_LEAST_NOISE, _MOST_NOISE = 0.02, 1e7
_AIM = (0.99, 0.9995)  # calibrated total / target; below 1 so that rounding never overshoots
_MESH_POINTS = 4_000_000


class BudgetExhausted(DpbenchError):
    """What the ledger already holds leaves nothing for another mechanism."""


class Spent(BaseModel):
    """Epsilon at ``delta`` of a composition, by both accountants; inf without noise."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    epsilon: float
    delta: float
    opacus: float
    dp_accounting: float
    opacus_accountant: Literal["prv", "rdp"] = "prv"
    dp_accounting_accountant: Literal["pld", "rdp"] = "pld"

    @property
    def disagreement(self) -> float:
        """Relative difference of the two figures, in [0, 1]."""
        if self.opacus == self.dp_accounting:
            return 0.0
        low, high = sorted((self.opacus, self.dp_accounting))
        return (high - low) / high if math.isfinite(high) else 1.0

    @property
    def disagrees(self) -> bool:
        """True when the accountants differ by more than 2%."""
        return self.disagreement > DISAGREEMENT_LIMIT


def compose(mechanisms: Iterable[Mechanism], delta: float) -> Spent:
    """Return the epsilon that ``mechanisms`` together spend at ``delta``."""
    return _compose(uses_of(mechanisms), delta)


def uses_of(mechanisms: Iterable[Mechanism]) -> Uses:
    """Merge mechanisms of equal noise and rate; the order of a ledger costs nothing."""
    counts: dict[tuple[float, float], int] = {}
    for mechanism in mechanisms:
        key = (mechanism.noise_multiplier, mechanism.sampling_rate)
        counts[key] = counts.get(key, 0) + mechanism.count
    return tuple(sorted((sigma, rate, count) for (sigma, rate), count in counts.items()))


@functools.lru_cache(maxsize=4096)
def _compose(uses: Uses, delta: float) -> Spent:
    if not 0 < delta < 1:
        raise DpbenchError(f"delta must lie in (0, 1), got {delta}")
    if not uses:
        return Spent(epsilon=0, delta=delta, opacus=0, dp_accounting=0)
    if any(sigma == 0 for sigma, _, _ in uses):
        inf = math.inf
        return Spent(epsilon=inf, delta=delta, opacus=inf, dp_accounting=inf)
    with _quiet():
        google = _finite(_pld_epsilon, uses, delta)
        pld = google is not None
        if google is None:
            google = _google_rdp_epsilon(uses, delta)
        opacus = _finite(functools.partial(_prv_epsilon, guess=google), uses, delta)
        prv = opacus is not None
        if opacus is None:
            opacus = _opacus_rdp_epsilon(uses, delta)
    return Spent(
        epsilon=max(opacus, google),
        delta=delta,
        opacus=opacus,
        dp_accounting=google,
        opacus_accountant="prv" if prv else "rdp",
        dp_accounting_accountant="pld" if pld else "rdp",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence overflow far in the tails, and advice about orders nobody chose here."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def _finite(tight: Callable[[Uses, float], float], uses: Uses, delta: float) -> float | None:
    """Ask the tight accountant; None where its numerics give out."""
    try:
        epsilon = tight(uses, delta)
    except (ArithmeticError, ValueError, RuntimeError, MemoryError):
        return None
    return epsilon if math.isfinite(epsilon) else None


def _loss_variance(sigma: float, rate: float) -> float:
    """Approximate variance of one use's privacy loss: the scale a mesh must resolve."""
    return min(rate**2 * math.expm1(min(sigma**-2, 600.0)), rate * sigma**-2)


def _pld_interval(uses: Uses) -> float:
    """Return a mesh width that inflates epsilon by well under 0.2%.

    Connect-the-dots adds a variance of at most width^2 / 4 per use; the width
    keeps the sum of those small beside the variance of the composed loss.
    """
    total = sum(count for _, _, count in uses)
    variance = sum(count * _loss_variance(sigma, rate) for sigma, rate, count in uses)
    width = 0.05 * math.sqrt(variance / total)
    widest = max(0.5 * sigma**-2 + 10 / sigma for sigma, _, _ in uses)
    return min(max(width, widest / 2e6 if widest > 1 else 0, 1e-8), 1e-2)


def _pld_epsilon(uses: Uses, delta: float) -> float:
    from dp_accounting.pld import privacy_loss_distribution as pld

    width = _pld_interval(uses)
    parts = (
        pld.from_gaussian_mechanism(
            sigma, sampling_prob=rate, value_discretization_interval=width
        ).self_compose(count)
        for sigma, rate, count in uses
    )
    total = functools.reduce(lambda left, right: left.compose(right), parts)
    return float(total.get_epsilon_for_delta(delta))


def _google_rdp_epsilon(uses: Uses, delta: float) -> float:
    from dp_accounting.dp_event import GaussianDpEvent, PoissonSampledDpEvent
    from dp_accounting.rdp.rdp_privacy_accountant import RdpAccountant

    accountant = RdpAccountant()
    for sigma, rate, count in uses:
        accountant.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(sigma)), count)
    return float(accountant.get_epsilon(delta))


def _prv_epsilon(uses: Uses, delta: float, guess: float) -> float:
    """Opacus's PRV upper bound, its error set relative to ``guess``.

    The error (absolute, in epsilon) is 0.3% of the guess where the mesh allows;
    Opacus's default of 0.01 would be 5% at epsilon = 0.2. A mesh that is too
    fine even for 10% raises, and Renyi DP takes over.
    """
    from opacus.accountants import PRVAccountant

    count = sum(use[2] for use in uses)
    fineness = math.sqrt(count * math.log(12_000 / delta) / 2)  # mesh = error / fineness
    affordable = 2 * (1.3 * guess + 4) * fineness / _MESH_POINTS
    error = max(min(0.003 * guess, 0.3), affordable)  # the method asks for less than 1
    if error > min(0.1 * guess, 0.5):
        raise ArithmeticError("the mesh would be too fine")
    accountant = PRVAccountant()
    accountant.history = list(uses)
    return float(accountant.get_epsilon(delta, eps_error=error))


def _opacus_rdp_epsilon(uses: Uses, delta: float) -> float:
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = list(uses)
    return float(accountant.get_epsilon(delta))


def noise_multiplier_for(
    epsilon: float,
    delta: float,
    sampling_rate: float = 1.0,
    steps: int = 1,
    already: Iterable[Mechanism] = (),
) -> float:
    """Return the least noise multiplier with which everything stays within epsilon.

    ``already`` is what was spent before; ``epsilon`` bounds the composition of
    that and of ``steps`` uses at ``sampling_rate``, by the larger of the two
    accountants, which comes out between 0.99 and 1.00 of ``epsilon``.

    Raises:
        BudgetExhausted: ``already`` spends (nearly) all of ``epsilon``.
    """
    if not epsilon > 0:
        raise DpbenchError(f"epsilon must be positive, got {epsilon}")
    if math.isinf(epsilon):
        return 0.0
    return _calibrate(float(epsilon), delta, float(sampling_rate), int(steps), uses_of(already))


@functools.lru_cache(maxsize=4096)
def _calibrate(epsilon: float, delta: float, rate: float, steps: int, already: Uses) -> float:
    def uses(sigma: float) -> Uses:
        return tuple(sorted((*already, (sigma, rate, steps))))

    low, high = _AIM
    least, most = (fraction * epsilon for fraction in _AIM)
    aim = (low + high) / 2 * epsilon
    spent = _compose(already, delta).epsilon
    for _ in range(8):
        sigma = _solve(lambda s: _fast_epsilon(uses(s), delta), aim) if spent < least else None
        if sigma is None:
            raise BudgetExhausted(
                f"epsilon = {epsilon:.4g} leaves nothing for {steps} more step(s): "
                f"{spent:.4g} is spent already; give the earlier mechanisms a smaller share"
            )
        total = _compose(uses(sigma), delta).epsilon
        if least <= total <= most or (sigma == _LEAST_NOISE and total <= most):
            return sigma
        aim *= (low + high) / 2 * epsilon / total
    raise DpbenchError(
        f"no noise found for epsilon = {epsilon:.4g}, rate {rate:.4g}, {steps} steps: "
        f"the accountants do not settle; use a larger epsilon or fewer steps"
    )


def _fast_epsilon(uses: Uses, delta: float) -> float:
    with _quiet():
        epsilon = _finite(_pld_epsilon, uses, delta)
        return _google_rdp_epsilon(uses, delta) if epsilon is None else epsilon


def _solve(epsilon_of: Callable[[float], float], target: float) -> float | None:
    """Solve ``epsilon_of(sigma) = target`` for a decreasing function; None if too high.

    Brent's method on log(sigma), log(epsilon), where the function is near a line;
    a thousandth of epsilon off counts as met.
    """
    from scipy.optimize import brentq

    @functools.cache
    def gap(log_sigma: float) -> float:
        off = math.log(max(epsilon_of(math.exp(log_sigma)), 1e-12) / target)
        return 0.0 if abs(off) < 1e-3 else off

    left = right = 0.0
    while gap(left) < 0:
        right, left = left, left - 0.7
        if left < math.log(_LEAST_NOISE):
            return _LEAST_NOISE
    while gap(right) > 0:
        left, right = right, right + 1.5
        if right > math.log(_MOST_NOISE):
            return None
    root: float = brentq(gap, left, right, xtol=1e-5)
    return math.exp(root)

"""From what an attacker guessed right to a lower bound on epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = [
    "binomial_bounds",
    "epsilon_from_rates",
    "gdp_delta",
    "gdp_epsilon",
    "gdp_mu",
    "one_run_epsilon",
    "one_run_p_value",
]

MOST_EPSILON = 64.0
"""No bound looks further: so many right guesses nobody can pay for."""


def binomial_bounds(successes: Any, trials: int, error: float) -> tuple[Any, Any]:
    """Return one-sided Clopper-Pearson bounds, each wrong with probability ``error``.

    Together they are an interval of confidence ``1 - 2 * error``. ``successes`` is
    a number or an array of them, and so are the bounds.
    """
    import numpy as np
    from scipy.special import betaincinv

    k = np.asarray(successes, dtype=float)
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), trials - k + 1, error), 0.0)
    high = np.where(k < trials, betaincinv(k + 1, np.maximum(trials - k, 1), 1 - error), 1.0)
    return low[()], high[()]


def epsilon_from_rates(
    hits: Any, positives: int, alarms: Any, negatives: int, delta: float, error: float
) -> Any:
    """Bound epsilon from below, given a test fixed before these runs were seen.

    ``hits`` of ``positives`` runs of one world passed the test, ``alarms`` of
    ``negatives`` runs of the other (numbers, or arrays for several tests).
    (epsilon, delta)-DP demands ``P(hit) <= exp(epsilon) P(alarm) + delta`` (Kairouz,
    Oh, Viswanath 2015), so ``log((hit rate - delta) / alarm rate)``, with
    Clopper-Pearson bounds for the two rates, exceeds epsilon with probability at
    most ``error``.
    """
    import numpy as np

    hit_rate, _ = binomial_bounds(hits, positives, error / 2)
    _, alarm_rate = binomial_bounds(alarms, negatives, error / 2)
    return np.maximum(0.0, np.log(np.maximum((hit_rate - delta) / alarm_rate, 1.0)))


def gdp_mu(hits: Any, positives: int, alarms: Any, negatives: int, error: float) -> Any:
    """Bound mu of Gaussian DP from below, given a test fixed before these runs were seen.

    A mu-GDP mechanism (Dong, Roth, Su 2022) allows no test with more hits than
    ``Phi(Phi^-1(P(alarm)) + mu)``, so ``Phi^-1(hit rate) - Phi^-1(alarm rate)``, with
    Clopper-Pearson bounds, exceeds mu with probability at most ``error`` (Nasr et al.
    2023, section 4). Arguments as for :func:`epsilon_from_rates`.
    """
    import numpy as np
    from scipy.special import ndtri

    hit_rate, _ = binomial_bounds(hits, positives, error / 2)
    _, alarm_rate = binomial_bounds(alarms, negatives, error / 2)
    known = (hit_rate > 0) & (alarm_rate < 1)
    gap = ndtri(np.where(known, hit_rate, 0.5)) - ndtri(np.where(known, alarm_rate, 0.5))
    return np.maximum(0.0, gap)


def gdp_delta(mu: float, epsilon: float) -> float:
    """Return the least delta at which mu-GDP is (epsilon, delta)-DP.

    Dong, Roth, Su 2022, Corollary 2.13:
    ``Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)``.
    """
    from scipy.special import log_ndtr, ndtr

    inside = ndtr(mu / 2 - epsilon / mu)
    return float(inside - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def gdp_epsilon(mu: float, delta: float) -> float:
    """Return the least epsilon at which mu-GDP is (epsilon, delta)-DP."""
    if mu <= 0 or gdp_delta(mu, 0.0) <= delta:
        return 0.0
    most = mu * mu / 2 + 40 * mu  # beyond 40 deviations of the loss no delta is left
    return _root(lambda epsilon: gdp_delta(mu, epsilon) - delta, most)


def _root(function: Callable[[float], float], most: float) -> float:
    """Solve ``function(epsilon) = 0`` between 0 and ``most``, from below to within 1e-6."""
    from scipy.optimize import brentq

    found = float(brentq(function, 0.0, most, xtol=1e-7))
    return max(0.0, found - 1e-6)


def one_run_p_value(
    canaries: int, guesses: int, correct: int, epsilon: float, delta: float
) -> float:
    """Bound the probability of ``correct`` or more right guesses under (epsilon, delta)-DP.

    Steinke, Nasr, Jagielski 2023, Theorem 5.2: each of ``canaries`` was included by
    a fair coin, the attacker guessed ``guesses`` of the coins from one training's
    output. With W ~ Binomial(guesses, e^eps / (1 + e^eps)) the bound is
    ``P(W >= correct) + 2 canaries delta max_i P(correct > W >= correct - i) / i``.
    """
    import numpy as np
    from scipy.special import betainc, gammaln

    if correct <= 0:
        return 1.0
    right = 1 / (1 + math.exp(-epsilon))
    tail = float(betainc(correct, guesses - correct + 1, right))
    below = np.arange(correct - 1, -1, -1)
    log_pmf = (
        gammaln(guesses + 1)
        - gammaln(below + 1)
        - gammaln(guesses - below + 1)
        + below * math.log(right)
        - (guesses - below) * np.logaddexp(0, epsilon)
    )
    slope = float(np.max(np.cumsum(np.exp(log_pmf)) / np.arange(1, correct + 1)))
    return min(1.0, tail + 2 * canaries * delta * slope)


def one_run_epsilon(canaries: int, guesses: int, correct: int, delta: float, error: float) -> float:
    """Return the largest epsilon that the guesses refute at significance ``error``."""

    def excess(epsilon: float) -> float:
        return one_run_p_value(canaries, guesses, correct, epsilon, delta) - error

    if excess(0.0) >= 0:
        return 0.0
    if excess(MOST_EPSILON) < 0:
        return MOST_EPSILON
    return _root(excess, MOST_EPSILON)

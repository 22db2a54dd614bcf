"""From what an attacker guessed right to a lower bound on epsilon."""

from __future__ import annotations

import math

__all__ = ["binomial_bounds", "epsilon_from_rates", "one_run_epsilon", "one_run_p_value"]


def binomial_bounds(successes: int, trials: int, error: float) -> tuple[float, float]:
    """Return one-sided Clopper-Pearson bounds, each wrong with probability ``error``.

    Together they are an interval of confidence ``1 - 2 * error``.
    """
    from scipy.special import betaincinv

    low = betaincinv(successes, trials - successes + 1, error) if successes else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - error) if successes < trials else 1.0
    return float(low), float(high)


def epsilon_from_rates(
    hits: int, positives: int, alarms: int, negatives: int, delta: float, error: float
) -> float:
    """Bound epsilon from below, given a test fixed before these runs were seen.

    ``hits`` of ``positives`` runs of one world passed the test, ``alarms`` of
    ``negatives`` runs of the other. (epsilon, delta)-DP demands
    ``P(hit) <= exp(epsilon) P(alarm) + delta`` (Kairouz, Oh, Viswanath 2015), so
    ``log((hit rate - delta) / alarm rate)``, with Clopper-Pearson bounds for the
    two rates, exceeds epsilon with probability at most ``error``.
    """
    hit_rate, _ = binomial_bounds(hits, positives, error / 2)
    _, alarm_rate = binomial_bounds(alarms, negatives, error / 2)
    if hit_rate <= delta:
        return 0.0
    return max(0.0, math.log((hit_rate - delta) / alarm_rate))


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

    def refuted(epsilon: float) -> bool:
        return one_run_p_value(canaries, guesses, correct, epsilon, delta) < error

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high) and high < 64:
        low, high = high, 2 * high
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low

"""From (epsilon, delta, sampling rate, steps) to noise, and from a ledger to epsilon."""

from __future__ import annotations

import functools

from opacus.accountants.utils import get_noise_multiplier

__all__ = ["noise_multiplier_for"]


@functools.lru_cache(maxsize=4096)
def noise_multiplier_for(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Return the least noise multiplier for which the steps stay within epsilon."""
    return float(
        get_noise_multiplier(
            target_epsilon=epsilon,
            target_delta=delta,
            sample_rate=sampling_rate,
            steps=steps,
            accountant="prv",
        )
    )

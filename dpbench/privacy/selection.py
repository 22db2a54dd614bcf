"""What it costs to train several trials, look at private scores, and keep the best.

Two answers. *Composition*: every candidate was trained, all of them are charged.
*Randomised tuning* (Papernot and Steinke 2022): draw the number of tries K from a
truncated negative binomial distribution, each try a candidate picked at random,
publish only the best; the cost hardly grows with K. It holds only if K was drawn
and nothing but the best was shown, which a leaderboard with every clip does not
satisfy: there, composition is what counts.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import Uses, compose, uses_of
from dpbench.privacy.ledger import Mechanism

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "SelectionCost",
    "composed_epsilon",
    "expected_tries",
    "selection_cost",
    "tuning_epsilon",
]

_ETAS = (-0.9, -0.5, 0.0, 0.5, 1.0)
_ORDERS = tuple(
    sorted({1 + 0.1 * k for k in range(1, 100)} | set(range(11, 129)) | {160, 256, 512, 1024})
)


class SelectionCost(BaseModel):
    """Epsilon at the trials' delta of one choice among ``candidates`` trials.

    Attributes:
        single: of the costliest candidate alone, which is what a trial's row shows.
        composed: of having trained all of them.
        randomised: of a randomised search with as many expected tries.
        eta: the negative binomial's shape that gives ``randomised``.
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    candidates: int
    delta: float
    single: float
    composed: float
    randomised: float
    eta: float


def selection_cost(candidates: Sequence[Sequence[Mechanism]], delta: float) -> SelectionCost:
    """Return what choosing the best of ``candidates`` (their ledgers) by private scores costs."""
    if not candidates:
        raise DpbenchError("there is nothing to select from")
    tries = float(len(candidates))
    options = [(tuning_epsilon(candidates, delta, tries, eta), eta) for eta in _ETAS]
    randomised, eta = min(options)
    return SelectionCost(
        candidates=len(candidates),
        delta=delta,
        single=max(compose(ledger, delta).epsilon for ledger in candidates),
        composed=composed_epsilon(candidates, delta),
        randomised=randomised,
        eta=eta,
    )


def composed_epsilon(candidates: Sequence[Sequence[Mechanism]], delta: float) -> float:
    """Return epsilon of all candidates' ledgers taken as one, by Renyi DP.

    An upper bound that takes milliseconds even for many unlike ledgers.
    """
    curve = _renyi(uses_of(m for ledger in candidates for m in ledger))
    return _to_epsilon(curve, delta)


def tuning_epsilon(
    candidates: Sequence[Sequence[Mechanism]], delta: float, tries: float, eta: float = 0.0
) -> float:
    """Return epsilon of a search with ``tries`` expected tries, each a random candidate.

    Papernot and Steinke 2022, Theorem 2: if one try is (a, r(a))-RDP for all
    orders a, the best of K tries with K from the truncated negative binomial
    distribution of shape ``eta`` > -1 and parameter g is, for any order b,

        r(a) + (1 + eta) (1 - 1/b) r(b) + (1 + eta) log(1/g) / b + log(E[K]) / (a - 1).

    A random candidate's RDP is at most the worst candidate's, at each order.
    """
    import numpy as np

    curve = np.max([_renyi(uses_of(ledger)) for ledger in candidates], axis=0)
    orders = np.array(_ORDERS)
    gamma = _gamma_for(tries, eta)
    price = (1 + eta) * ((1 - 1 / orders) * curve - math.log(gamma) / orders)
    return _to_epsilon(curve + float(np.min(price)) + math.log(tries) / (orders - 1), delta)


def expected_tries(gamma: float, eta: float) -> float:
    """Return E[K] of the truncated negative binomial (Papernot and Steinke, Definition 1)."""
    if eta == 0:
        return (1 / gamma - 1) / math.log(1 / gamma)
    return float(eta * (1 - gamma) / (gamma * (1 - gamma**eta)))


def _gamma_for(tries: float, eta: float) -> float:
    """Invert :func:`expected_tries`, which falls in gamma and is 1 at gamma = 1."""
    if tries <= 1:
        return 1.0
    low, high = -60.0, -1e-9
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if expected_tries(math.exp(middle), eta) > tries else (low, middle)
        )
    return math.exp(low)


@functools.lru_cache(maxsize=1024)
def _renyi(uses: Uses) -> np.ndarray:
    """Return the RDP of a composition at every order; inf without noise."""
    import numpy as np
    from opacus.accountants.analysis.rdp import compute_rdp

    total = np.zeros(len(_ORDERS))
    for sigma, rate, count in uses:
        if sigma == 0:
            return np.full(len(_ORDERS), math.inf)
        total += compute_rdp(q=rate, noise_multiplier=sigma, steps=count, orders=list(_ORDERS))
    return total


def _to_epsilon(curve: np.ndarray, delta: float) -> float:
    """Convert RDP to epsilon at ``delta`` (Canonne, Kamath, Steinke 2020, Proposition 12)."""
    from opacus.accountants.analysis.rdp import get_privacy_spent

    if not any(map(math.isfinite, curve)):
        return math.inf
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to try other orders
        return float(get_privacy_spent(orders=list(_ORDERS), rdp=list(curve), delta=delta)[0])

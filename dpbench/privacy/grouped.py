"""Noisy sums over all records, and over groups of records at the price of one sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.precision import full_precision
from dpbench.privacy.contributions import alone_differs, bounded, in_full, membership
from dpbench.privacy.ledger import Mechanism

if TYPE_CHECKING:
    from dpbench.privacy.handle import PrivateLatents
    from dpbench.privacy.session import PrivateSession

__all__ = ["Grouped", "gaussian", "grouped_sum", "release_grouped_sum"]

Grouped = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Maps latents ``[B, d]`` to memberships ``[B, K]`` and values ``[B, m]``, row by row."""

_ROWS, _NUMBERS = 8192, 2**24
"""Most records at a time, and most numbers among their values: second moments are wide."""


def release_grouped_sum(
    private: PrivateLatents,
    contribution: Grouped,
    *,
    clip: float,
    noise_multiplier: float,
    name: str,
    by_class: bool = False,
) -> Tensor:
    """Release ``sum_i w_i (x) v_i`` over all records i with Gaussian noise, ``[K, m]``.

    ``contribution`` maps latents ``[B, d]`` to memberships w ``[B, K]`` and
    values v ``[B, m]``, each row from its own latent. Values are clipped to L2
    norm ``clip`` and memberships to L2 norm 1 (soft assignments, which sum to
    one, already are), so a record moves the result by at most ``clip`` however
    many groups there are: it is one vector of length K m, never formed. Null
    records and rows that are not finite contribute nothing. With ``by_class`` each
    class has sums of its own, ``[classes, K, m]``, still for the price of one.

    Raises:
        NotPerRecord: some rows depend on the rest of their batch.
        DpbenchError: rows are missing, or the clip is not positive and finite.
    """
    mechanism = gaussian(name, noise_multiplier, clip, private.classes if by_class else 1)
    total = grouped_sum(private._session, contribution, mechanism).float()
    return total if by_class else total[0]


def grouped_sum(session: PrivateSession, contribution: Grouped, mechanism: Mechanism) -> Tensor:
    """Release the sums of :func:`release_grouped_sum` in float64, ``[classes, K, m]``.

    They are clipped to the mechanism's sensitivity, and over its classes.
    """
    total: Tensor | None = None
    background = torch.zeros(())
    for rows in _chunks(session, contribution):
        latents = session.rows(rows)
        weights, values = _rows(contribution, latents, mechanism.name)
        if total is None:
            _check_per_record(contribution, latents, weights, values, mechanism.name)
        share, values = _bounded(weights, values, mechanism.sensitivity, session.present[rows])
        share = _in_class(share, session.labels[rows], mechanism.classes)
        part = _product(share, values)
        total = part if total is None else total + part
        if session.evidence is not None:
            known = ~session.evidence.planted[rows]
            background = background + _product(share[known], values[known])
    if total is None:
        raise DpbenchError(f"{mechanism.name!r}: there are no private records")
    use = session.use(mechanism)
    use.begin()
    release = use.release(total)
    groups = len(release) // mechanism.classes
    if session.evidence is not None:
        canaries = session.evidence.canaries
        weights, values = _rows(contribution, canaries, mechanism.name)
        everyone = torch.ones(len(canaries), dtype=torch.bool, device=canaries.device)
        share, values = _bounded(weights, values, mechanism.sensitivity, everyone)
        share = _in_class(share, session.evidence.labels, mechanism.classes)
        unexplained = release - background
        use.align(torch.einsum("bk,km,bm->b", share.double(), unexplained, values.double()))
    return release.view(mechanism.classes, groups, -1)


def gaussian(name: str, noise_multiplier: float, clip: float, classes: int = 1) -> Mechanism:
    """Return one use of all records; its clip must be a number that bounds something."""
    if not 0 < clip < math.inf:
        raise DpbenchError(f"clip of {name!r} must be positive and finite, got {clip}")
    return Mechanism(
        name=name, noise_multiplier=noise_multiplier, sensitivity=clip, classes=classes
    )


def _product(share: Tensor, values: Tensor) -> Tensor:
    """Sum what is bounded: rounded to fewer bits, a record could exceed its bound."""
    with full_precision():
        return (share.T @ values).double()


def _chunks(session: PrivateSession, contribution: Grouped) -> Iterator[slice]:
    size = len(session.table)
    # Looked at with no record: what a contribution keeps of its first call tells of none.
    nobody = session.table.new_zeros(1, session.table.shape[1])
    width = contribution(nobody)[1].shape[1:].numel() if size else 1
    rows = min(_ROWS, max(1, _NUMBERS // max(1, width)))
    return (slice(start, start + rows) for start in range(0, size, rows))


def _rows(contribution: Grouped, latents: Tensor, name: str) -> tuple[Tensor, Tensor]:
    weights, values = contribution(latents)
    for part in (weights, values):
        if part.ndim != 2 or len(part) != len(latents):
            raise DpbenchError(
                f"{name!r}: a contribution must give one row per record "
                f"([{len(latents)}, k] expected, got {list(part.shape)})"
            )
    return in_full(weights), in_full(values)


def _check_per_record(
    contribution: Grouped, latents: Tensor, weights: Tensor, values: Tensor, name: str
) -> None:
    def alone(index: int) -> Tensor:
        return torch.cat(contribution(latents[index : index + 1]), 1)

    alone_differs(name, torch.cat([weights, values], 1), alone)


def _bounded(
    weights: Tensor, values: Tensor, clip: float, present: Tensor
) -> tuple[Tensor, Tensor]:
    """Clip memberships to L2 norm 1 and values to ``clip``, row by row."""
    return bounded(weights, 1.0, present), bounded(values, clip, present)


def _in_class(weights: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Move memberships ``[B, K]`` to those groups that are the record's class's, ``[B, C K]``."""
    if classes == 1:
        return weights
    own = membership(labels, classes, weights)
    return (own.unsqueeze(2) * weights.unsqueeze(1)).flatten(1)

"""Noisy sums over disjoint parts of the records, each part free to learn what it likes.

What PATE (Papernot et al. 2017) needs: a teacher sees its part alone, so one record can
change one teacher's answer, as far as that can be changed at all, and no other's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.privacy.contributions import bounded
from dpbench.privacy.grouped import gaussian
from dpbench.privacy.handle import PrivateLatents

__all__ = ["PartMoves", "PartSum", "release_part_sum"]

PartSum = Callable[[Tensor], Tensor]
"""Maps the latents ``[n, d]`` of one part, n possibly 0, to a vector ``[k]``."""


class PartMoves(DpbenchError):
    """What a part gives changes from call to call, so that other parts may have moved it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r}: a part gives something else when it is asked again: keep nothing from "
            "part to part, and draw what is random from a generator seeded anew in each call"
        )


def release_part_sum(
    private: PrivateLatents,
    contribution: PartSum,
    *,
    parts: int,
    clip: float,
    noise_multiplier: float,
    name: str,
) -> Tensor:
    """Release a noisy sum of one vector for each of ``parts`` disjoint parts, ``[k]``.

    Record i is in part ``i % parts``, whatever it is. ``contribution`` may do anything
    with a part's latents, train a classifier on them, say, as long as it depends on nothing
    else that is private. Its vectors are clipped to L2 norm ``clip``; one that is not
    finite counts as zero. Replacing a record by a null record, which its part does not see,
    moves one vector from anywhere to anywhere within the ball: the sensitivity is its
    diameter, ``2 * clip``, and noise has standard deviation ``noise_multiplier * 2 * clip``.
    M votes of -1/2 or 1/2 have a norm of ``sqrt(M) / 2``, so that ``2 * clip = sqrt(M)``.

    Raises:
        PartMoves: a part's vector differs when it is computed again.
        DpbenchError: there are not as many records as parts, or the clip is not positive
            and finite.
    """
    if not 0 < parts <= private.size:
        raise DpbenchError(
            f"{name!r}: {parts} parts of {private.size} records: ask for fewer, at least one"
        )
    mechanism = gaussian(name, noise_multiplier, 2 * clip)
    session = private._session
    latents, present = session.latents, session.present

    def vector(part: int) -> Tensor:
        own = latents[part::parts][present[part::parts]]
        return contribution(own).detach().double()

    # First with no record: what is kept of a first call tells of none.
    contribution(latents.new_zeros(2, latents.shape[1]))
    rows = torch.stack([vector(part) for part in range(parts)])
    for part in {0, parts - 1}:
        if not torch.equal(vector(part).nan_to_num(), rows[part].nan_to_num()):
            raise PartMoves(name)
    everyone = torch.ones(parts, dtype=torch.bool, device=rows.device)
    total = bounded(rows, clip, everyone).sum(0)
    use = session.use(mechanism)
    use.begin()
    return use.release(total).float()

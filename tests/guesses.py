"""What a generator could try that knows the seed of its context, and all names in the code."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from dpbench.api import derive_seed

_NAMES = (
    "noise", "private-noise", "audit-noise", "replay-noise", "choice-noise",
    "generator", "samples", "audit", "choice", "private", "dp-sgd",
)  # fmt: skip


def guessed_roots(seed: int) -> Iterator[int]:
    """Yield what could be the root of a trial's noise, were it to be had from ``seed``."""
    yield seed
    for name in _NAMES:
        yield derive_seed(name, seed)
        yield derive_seed(seed, name)


def guessed_streams(seed: int, mechanism: str) -> Iterator[torch.Generator]:
    """Yield streams that could be the first of ``mechanism``."""
    for root in guessed_roots(seed):
        yield torch.Generator().manual_seed(root)
        for name in (mechanism, f"draws:{mechanism}", f"sampling:{mechanism}"):
            yield torch.Generator().manual_seed(derive_seed("private-noise", root, name, 0))

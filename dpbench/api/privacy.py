"""What a generator learns by: the handle on private latents, and DP-SGD through it.

Apart from :mod:`dpbench.api` only so that plugins of other kinds need not load it.
"""

from dpbench.privacy.dp_sgd import PerSampleLoss, PrivateGradient, train
from dpbench.privacy.handle import Budget, NotPerRecord, PrivateLatents
from dpbench.privacy.parts import PartMoves, PartSum, release_part_sum

__all__ = [
    "Budget",
    "NotPerRecord",
    "PartMoves",
    "PartSum",
    "PerSampleLoss",
    "PrivateGradient",
    "PrivateLatents",
    "release_part_sum",
    "train",
]

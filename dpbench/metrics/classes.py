"""Which classes the labelling classifier sees in generated images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dpbench.api import MetricUnavailable

__all__ = ["COLLAPSED_BELOW", "ClassShares", "class_shares", "collapsed"]

COLLAPSED_BELOW = 0.01
"""A private class with a smaller share means mode collapse."""


@dataclass(frozen=True)
class ClassShares:
    """Shares of generated images, each in ``[0, 1]``.

    Attributes:
        private: share called one of the private classes.
        by_class: per private class, its share among those called private; all
            zero when none is.
    """

    private: float
    by_class: dict[int, float]

    @property
    def smallest(self) -> float:
        """The share of the rarest private class."""
        return min(self.by_class.values())


def class_shares(labels: Tensor, private_classes: Sequence[int]) -> ClassShares:
    """Count ``labels`` (``int64`` ``[N]``, by the labelling classifier) per private class.

    Raises:
        MetricUnavailable: there are no images.
    """
    if not len(labels):
        raise MetricUnavailable("there are no images to count")
    counts = {label: int((labels == label).sum()) for label in private_classes}
    called_private = sum(counts.values())
    return ClassShares(
        private=called_private / len(labels),
        by_class={label: count / max(called_private, 1) for label, count in counts.items()},
    )


def collapsed(smallest_share: float) -> bool:
    """Say whether a trial whose rarest private class has this share has collapsed."""
    return smallest_share < COLLAPSED_BELOW

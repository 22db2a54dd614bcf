"""Sources of labelled images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from dpbench.api.images import Partition
from dpbench.api.plugin import Plugin

__all__ = ["Dataset"]


class Dataset(Plugin, ABC):
    """A source of labelled images and the rule that partitions them."""

    kind = "dataset"

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def load(self, cache: Path) -> Partition:
        """Return the partition, fetching into ``cache`` what is not there yet.

        Raises:
            DpbenchError: no source answered, or what it sent is not the data.
        """

    def is_cached(self, cache: Path) -> bool:
        """Say whether :meth:`load` would need no network."""
        return True

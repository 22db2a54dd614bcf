"""What every stage's task is: a frozen value that owns its behaviour."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from dpbench.api import Context
from dpbench.store import ArtifactId, Store

__all__ = ["Task"]


class Task(ABC):
    """One piece of work from store to store; a frozen dataclass that any process can run.

    Attributes:
        stage: where its artifacts lie in the store.
        plural: what a reader calls the artifacts of this stage.
        seed: of the context that :meth:`run` gets.
    """

    stage: ClassVar[str]
    plural: ClassVar[str]
    seed: int

    @abstractmethod
    def reads(self) -> Sequence[ArtifactId]:
        """Return the artifacts that must be there before it runs."""

    @abstractmethod
    def writes(self) -> Sequence[ArtifactId]:
        """Return the artifacts that it leaves when it succeeds."""

    @abstractmethod
    def run(self, store: Store, context: Context) -> dict[str, str]:
        """Do the work; return the reason, by key, for each artifact that failed by itself."""

    def split(self) -> Sequence[Task]:
        """Return the smaller tasks to try after the whole failed; none if there are none."""
        return ()

"""A plugin class under test, with what its checks share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from torch import Tensor

from dpbench.api import Context, Params, Plugin
from dpbench.privacy.replay.shorter import shortened

__all__ = ["LENGTHS", "Subject"]

T = TypeVar("T")
#: Hyperparameters that say how long a plugin works, beside ``…_steps``: kits lower them.
LENGTHS = ("steps", "epochs")


class Subject(ABC):
    """A plugin class with the hyperparameters under which it is checked.

    Args:
        cls: the class.
        given: hyperparameters; the others are the defaults, with lengths lowered to
            :attr:`most_steps`.
    """

    base: ClassVar[type[Plugin]]
    #: A plugin's promises about learning are not a kit's affair: a few steps show the others.
    most_steps: ClassVar[int] = 8

    def __init__(self, cls: type[Any], given: Mapping[str, Any]) -> None:
        self.cls, self.given = cls, dict(given)
        self._memory: dict[str, Any] = {}

    @property
    def params(self) -> Any:
        """The hyperparameters of all checks."""

        def make() -> Params:
            params: Params = self.cls.Params.model_validate(self.given)
            free = [name for name in type(params).model_fields if name not in self.given]
            return shortened(params, self.most_steps, free, LENGTHS)

        return self.remember("params", make)

    def anew(self) -> Self:
        """Return another one of the same: what checks before may have changed is as it was."""
        return type(self)(self.cls, self.given)

    def remember(self, key: str, make: Callable[[], T]) -> T:
        """Return ``make()``, made once: what several checks look at."""
        if key not in self._memory:
            self._memory[key] = make()
        found: T = self._memory[key]
        return found

    @abstractmethod
    def work(self, context: Context) -> dict[str, Tensor]:
        """Do the usual work once, from nothing; return all that comes of it."""

    @abstractmethod
    def lent(self) -> dict[str, Tensor]:
        """Return the tensors that :meth:`work` lends the plugin, which it must not change."""

"""Figures computed from generated images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from torch import Tensor

from dpbench.api.context import Context
from dpbench.api.plugin import Plugin
from dpbench.errors import DpbenchError

if TYPE_CHECKING:
    from dpbench.metrics.views import References, View

__all__ = ["Column", "Metric", "MetricUnavailable", "Unlabelled"]


@dataclass(frozen=True)
class Column:
    """One figure of a metric: how to read it and how to print it.

    Args:
        better: ``"higher"``, ``"lower"``, or ``"none"`` where neither is better.
        low: the least possible value.
        high: the greatest possible value.
        digits: decimals shown in tables.
        title: table heading; the key is used when empty.
    """

    better: Literal["higher", "lower", "none"]
    low: float = 0.0
    high: float = float("inf")
    digits: int = 3
    title: str = ""


class MetricUnavailable(DpbenchError):
    """A figure that cannot be computed here; the message becomes its reason."""


class Unlabelled(MetricUnavailable):
    """A figure of labelled samples, where samples have no labels."""

    def __init__(self) -> None:
        super().__init__('the samples have no labels: set labels = "private" in the grid')


class Metric(Plugin, ABC):
    """Scores generated images against references.

    Attributes:
        columns: the figures that :meth:`compute` returns.
    """

    kind = "metric"
    columns: ClassVar[dict[str, Column]]

    def __init__(self, params: Any) -> None:
        self.params = params

    @abstractmethod
    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        """Return one number per column.

        ``generated`` and each of ``references`` give ``images`` (uint8),
        ``features`` and ``logits`` of the protocol's evaluator; features are
        computed once and shared by all metrics. Of a reference of more than 50,000
        images a view holds a fixed random 50,000; ``view.population`` counts all,
        and ``view.statistics`` is of all.

        Raises:
            MetricUnavailable: with the reason, e.g. too few samples for ``k``.
        """

    def picture(self, generated: View, references: References) -> Tensor | None:
        """Return a picture that explains the figures, ``uint8`` ``[C, H, W]``, or ``None``.

        It is kept beside the score and drawn on the leaderboard's page.
        """
        return None

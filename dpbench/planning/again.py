"""From rows back to the trials that they are of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from dpbench.planning.config import Config
from dpbench.planning.trials import Request
from dpbench.results import Result

__all__ = ["request_again"]

T = TypeVar("T")


def request_again(config: Config, rows: Sequence[Result]) -> Request:
    """Return the request whose plan holds the trials of ``rows``, and no others.

    The rows are of one data set and protocol. Hyperparameters that stood in brackets on the
    command line are set as they were then.
    """
    first, noises = rows[0], [row.noise_multiplier for row in rows]
    return Request(
        _unlike(name for row in rows for name in _grids(config, row)),
        first.dataset,
        epsilon=_unlike(r.epsilon for r in rows if r.noise_multiplier is None),
        noise_multiplier=_unlike(noises),
        clip=_unlike(row.clip for row in rows),
        seeds=_unlike(row.seed or 0 for row in rows),
        protocols=(str(first.protocol["name"]),),
        methods=_unlike((row.selectors or (row.method,))[-1] for row in rows),
        labels=_unlike(row.labels for row in rows),
        only=frozenset(row.identity_key for row in rows),
    )


def _grids(config: Config, row: Result) -> tuple[str, ...]:
    if of_grid := row.selectors[:-1]:
        return tuple(of_grid)
    first = next((name for name in row.grids if name in config.file.grids), "all")
    # A method that was named in a grid's place need not be among those of the grid `all`.
    return (row.method if first == "all" and not row.selectors else first,)


def _unlike(values: Iterable[T | None]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(value for value in values if value is not None))

"""The rows of a leaderboard: results read and filtered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dpbench.errors import DpbenchError, UnknownName, did_you_mean
from dpbench.leaderboard.finished import FinishedTrial, the_one
from dpbench.leaderboard.rows import Record, flat, record, typed
from dpbench.leaderboard.sections import Section, make_sections
from dpbench.leaderboard.words import count_text
from dpbench.planning.selector import InvalidSelector, Selector
from dpbench.results import DEFAULT, Result, Run, SetAside, read_history, read_results

if TYPE_CHECKING:
    from pandas import DataFrame

    from dpbench.leaderboard.drawn import Plot

__all__ = ["Leaderboard", "load"]


@dataclass(frozen=True)
class Leaderboard:
    """Results, in comparable parts.

    Attributes:
        results: trials and controls, in the order in which they are shown.
        runs: where they were read from; pictures need the artifacts there.
        set_aside: files under ``runs`` that cannot be read, with the reason.
        history: the commands that made the results.
        numbers: of each result, by key, its row among all that were read: counted from one.
        everything: all that were read, where ``results`` are a part of them: what a choice was
            among does not depend on what is shown.
    """

    results: tuple[Result, ...]
    runs: Path | None = None
    set_aside: tuple[SetAside, ...] = ()
    history: tuple[Run, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    everything: tuple[Result, ...] | None = None

    def __repr__(self) -> str:
        """Say how much there is: all rows are tens of thousands of characters."""
        controls = sum(result.is_control for result in self.results)
        counts = ((len(self.results) - controls, "trial"), (controls, "control"),
                  (len(self.sections), "section"))  # fmt: skip
        return f"Leaderboard({', '.join(count_text(*count) for count in counts)})"

    @cached_property
    def sections(self) -> list[Section]:
        """The results in comparable parts: one data set, settings and protocol each."""
        return make_sections(self.results, self.everything)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """One record for each trial and control, as JSON has it.

        It holds a result's fields, and ``epsilon_with_selection`` and ``epsilon_audited``.
        """
        chosen = {
            result.key: epsilon
            for section in self.sections
            for candidate, epsilon in section.selected()
            for result in candidate.results
        }
        return tuple(record(result, chosen.get(result.key)) for result in self.results)

    @property
    def frame(self) -> DataFrame:
        """The records as a table of pandas: a row for each, a column for each figure.

        Nested fields are columns such as ``metrics.fid``; what a row does not have is
        missing, and no budget is ``inf``.

        >>> from dpbench.results import Result
        >>> row = Result(
        ...     method="ae-enc-VAE", dataset="mnist", epsilon=1.0, status="ok",
        ...     metrics={"fid": 42.0}, protocol={"name": "default"},
        ... )
        >>> Leaderboard((row,)).frame[["method", "epsilon", "metrics.fid"]]
               method  epsilon  metrics.fid
        0  ae-enc-VAE      1.0         42.0
        """
        from pandas import DataFrame, Series  # half a second that no command needs

        columns, rows = flat(self.records)
        values = [typed(row) for row in rows]
        table = DataFrame(values, columns=columns)
        # What a row does not have makes numbers floats, which cannot hold a protocol's seed.
        for name in columns:
            if name.startswith("protocol."):
                table[name] = Series([value.get(name) for value in values], dtype=object)
        return table

    def trial(
        self,
        method: str,
        *,
        dataset: str | None = None,
        settings: str | None = None,
        epsilon: float | None = None,
        clip: float | None = None,
        seed: int | None = None,
        labels: str | None = None,
        protocol: str | None = None,
    ) -> FinishedTrial:
        """Return the one trial or control of this name that has what is given.

        ``"ae-enc-VAE@10"`` names epsilon as well.

        Raises:
            DpbenchError: there is none, or there are several; the message says in what
                these differ.
        """
        names = sorted({result.method for result in self.results})
        method, _, target = method.partition("@")
        try:
            epsilon = float(target) if target else epsilon
        except ValueError:
            raise DpbenchError(f"{target!r} is no epsilon: write METHOD@EPSILON") from None
        rows = [result for result in self.results if result.method.lower() == method.lower()]
        if not rows:
            raise UnknownName("method", method, names)
        found = the_one(
            rows, dataset=dataset, settings=settings, epsilon=epsilon, clip=clip, seed=seed,
            labels=labels, protocol=protocol,
        )  # fmt: skip
        return FinishedTrial(found, self.runs)

    def plot(self, figure: str = "fid") -> Plot:
        """Draw a figure, by its column, over epsilon; or ``"clips"``, ``"cost"``, ``"fidelity"``
        or ``"shares"``.

        Raises:
            DpbenchError: there is no such figure, nothing to draw, or results of several
                data sets, settings or protocols, which never share a plot.
        """
        from dpbench.leaderboard.drawn import draw

        if len(self.sections) != 1:
            titles = "; ".join(section.title for section in self.sections) or "none"
            raise DpbenchError(f"a plot is of one table, and these are {titles}: filter them")
        return draw(figure, self.sections[0])

    def only(self, keys: Collection[str]) -> Leaderboard:
        """Keep the results whose :attr:`~dpbench.results.Result.key` is among ``keys``."""
        kept = tuple(result for result in self.results if result.key in keys)
        return replace(self, results=kept)

    def filter(
        self,
        *,
        dataset: str | None = None,
        protocol: str | None = None,
        settings: str | None = None,
        grids: Sequence[str] = (),
        methods: Sequence[str] = (),
    ) -> Leaderboard:
        """Keep what matches; the controls of what is kept stay beside it.

        Raises:
            DpbenchError: nothing matches.
        """
        kept = list(self.results)
        for option, wanted, named in (
            ("dataset", dataset, lambda r: r.dataset),
            ("protocol", protocol, lambda r: r.protocol["name"]),
        ):
            kept = _equal(kept, option, wanted, named)
        kept = _of_settings(kept, settings)
        if grids:
            kept = _of_grids(kept, grids)
        if methods:
            kept = _matching(kept, methods)
        return replace(self, results=tuple(kept))


def _equal(
    results: list[Result], option: str, wanted: str | None, field: Callable[[Result], str]
) -> list[Result]:
    if wanted is None:
        return results
    known = sorted({field(result) for result in results})
    if wanted not in known:
        raise DpbenchError(
            f"no results with --{option} {wanted}{did_you_mean(wanted, known)} "
            f"(there are: {', '.join(known)})"
        )
    return [result for result in results if field(result) == wanted]


def _of_settings(results: list[Result], wanted: str | None) -> list[Result]:
    """Keep settings named by their digest, or by a grid that mentioned them."""
    if wanted is not None:
        named = {r.settings for r in results if wanted in r.grids and r.settings != DEFAULT}
    if wanted is None or not named:
        return _equal(results, "settings", wanted, lambda r: r.settings)
    return [result for result in results if result.settings in named]


def _of_grids(results: list[Result], grids: Sequence[str]) -> list[Result]:
    known = sorted({name for result in results for name in result.grids})
    for grid in grids:
        if grid not in known:
            raise DpbenchError(
                f"no results of grid {grid!r}{did_you_mean(grid, known)} "
                f"(there are: {', '.join(known)})"
            )
    return _with_controls(results, lambda result: any(grid in result.grids for grid in grids))


class _Row(NamedTuple):
    """A result as a selector sees it."""

    name: str
    components: tuple[str, ...]

    @classmethod
    def of(cls, result: Result) -> _Row:
        parts = (result.public, result.extractor, result.generator)
        return cls(result.method, tuple(filter(None, parts)))


def _matching(results: list[Result], patterns: Sequence[str]) -> list[Result]:
    """Keep methods that match, and those controls that stand beside them.

    Raises:
        InvalidSelector: hyperparameters in brackets, which rows are not found by.
        DpbenchError: a pattern matches nothing.
    """
    selectors = [Selector.parse(pattern) for pattern in patterns]
    trials = [_Row.of(result) for result in results if not result.is_control]
    for selector in selectors:
        if selector.params:
            raise InvalidSelector(
                f"results are not found by hyperparameters: name {selector.pattern} alone, "
                "and --settings"
            )
        if not any(selector.matches(_Row.of(result)) for result in results):
            raise DpbenchError(selector.unknown_among(trials))
    return _with_controls(results, lambda r: any(s.matches(_Row.of(r)) for s in selectors))


def _with_controls(results: list[Result], wanted: Callable[[Result], bool]) -> list[Result]:
    """Keep the trials that are ``wanted``, and the controls that stand beside them."""
    kept = [result for result in results if wanted(result)]
    places = {
        (r.dataset, r.settings, r.labels, r.protocol["name"], *through)
        for r in kept
        for through in ((r.public, r.extractor), (None, None))
    }

    def beside(result: Result) -> bool:
        place = (result.dataset, result.settings, result.labels, result.protocol["name"])
        return result.is_control and (*place, result.public, result.extractor) in places

    return [result for result in results if wanted(result) or beside(result)]


def load(runs: Path) -> Leaderboard:
    """Read the results under ``runs``.

    Raises:
        DpbenchError: there are none.
    """
    rows = read_results(runs)
    if not rows.results:
        bad = f" that can be read ({rows.set_aside[0]})" if rows.set_aside else ""
        raise DpbenchError(
            f"no results under {runs}{bad}: make some with `dpbench run --grid smoke --runs {runs}`"
        )
    history, unread = read_history(runs)
    numbers = {key: number for number, key in enumerate(rows.keys, 1)}
    return Leaderboard(
        rows.results, runs, (*rows.set_aside, *unread), tuple(history), numbers, rows.results
    )

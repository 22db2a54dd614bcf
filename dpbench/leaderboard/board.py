"""The leaderboard: results read, filtered, rendered and written."""

from __future__ import annotations

import fnmatch
import io
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from dpbench.errors import DpbenchError, did_you_mean
from dpbench.leaderboard import formats, notes, records
from dpbench.leaderboard.sections import Section, make_sections
from dpbench.leaderboard.tables import Table, best_tables, sweep_tables
from dpbench.leaderboard.words import protocol_text
from dpbench.results import DEFAULT, Result, SetAside, read_results

__all__ = ["By", "Format", "Leaderboard", "load", "print_leaderboard", "write_leaderboard"]

Format = Literal["table", "markdown", "csv", "json", "latex"]
By = Literal["method", "clip"]
#: Width of text that goes to a file or a pipe.
PLAIN_WIDTH = 120
MOST_LINES = 12


@dataclass(frozen=True)
class Leaderboard:
    """Results, and what can be made of them.

    Attributes:
        results: trials and controls, in the order in which they are shown.
        runs: where they were read from; pictures need the artifacts there.
        set_aside: files under ``runs`` that cannot be read, with the reason.
    """

    results: tuple[Result, ...]
    runs: Path | None = None
    set_aside: tuple[SetAside, ...] = ()

    @cached_property
    def sections(self) -> list[Section]:
        """The results in comparable parts: one data set, settings and protocol each."""
        return make_sections(self.results)

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
        methods: Sequence[str] = (),
    ) -> Leaderboard:
        """Keep what matches; the controls of what is kept stay beside it.

        Raises:
            DpbenchError: nothing matches.
        """
        kept = list(self.results)
        for option, wanted, field in (
            ("dataset", dataset, lambda r: r.dataset),
            ("protocol", protocol, lambda r: r.protocol["name"]),
        ):
            kept = _equal(kept, option, wanted, field)
        kept = _of_settings(kept, settings)
        if methods:
            kept = _matching(kept, methods)
        return replace(self, results=tuple(kept))

    def tables(self, section: Section, by: By) -> list[Table]:
        """Return a section's tables: of the best clips, or of every clip."""
        return sweep_tables(section) if by == "clip" else best_tables(section)

    def render(self, format: Format = "table", by: By = "method", width: int = PLAIN_WIDTH) -> str:
        """Return the leaderboard as text; csv and json hold every trial, whatever ``by``."""
        if format == "json":
            return records.json_text(self.results)
        if format == "csv":
            return records.csv_text(self.results)
        if format == "table":
            console = Console(file=io.StringIO(), width=width, color_system=None)
            console.print(self.rich(by, width))
            assert isinstance(console.file, io.StringIO)
            lines = console.file.getvalue().splitlines()
            return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"
        part = self._markdown if format == "markdown" else self._latex
        return "\n\n".join(part(section, by) for section in self.sections) + "\n"

    def rich(self, by: By = "method", width: int = PLAIN_WIDTH) -> RenderableType:
        """Return what a rich console prints, for ``width`` columns of characters."""
        return Group(*(self._rich(section, by, width) for section in self.sections))

    def write(self, directory: Path) -> list[Path]:
        """Write ``results.csv``, ``README.md`` and pictures; return the files written."""
        from dpbench.leaderboard.page import write_page  # matplotlib takes a while

        return write_page(self, directory)

    def _rich(self, section: Section, by: By, width: int) -> RenderableType:
        parts: list[RenderableType] = [
            Text(section.title, style="bold underline"),
            Text(protocol_text(section.protocol)),
            Text(""),
        ]
        parts += [formats.terminal(table, width) for table in self.tables(section, by)]
        parts += [Text(line) for line in (*notes.caption(section), *notes.notes(section))]
        missing = notes.unranked(section)
        if missing:
            parts.append(Text("Not ranked:"))
            parts += [Padding(Text(line), (0, 0, 0, 2)) for line in missing[:MOST_LINES]]
            if len(missing) > MOST_LINES:
                parts.append(Text(f"  and {len(missing) - MOST_LINES} more (--by clip shows all)"))
        return Padding(Group(*parts), (0, 0, 1, 0))

    def _markdown(self, section: Section, by: By) -> str:
        parts = [f"## {section.title}", protocol_text(section.protocol)]
        for table in self.tables(section, by):
            parts += [f"### {table.title}", formats.markdown(table)]
        parts.append("\n".join(f"- {n}" for n in (*notes.caption(section), *notes.notes(section))))
        if missing := notes.unranked(section):
            parts += ["### Not ranked", "\n".join(f"- {line}" for line in missing)]
        return "\n\n".join(parts)

    def _latex(self, section: Section, by: By) -> str:
        note = f"{section.title}. {protocol_text(section.protocol)}"
        return "\n\n".join(formats.latex(table, note) for table in self.tables(section, by))


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


def _matching(results: list[Result], patterns: Sequence[str]) -> list[Result]:
    """Keep methods that match, and those controls that stand beside them."""

    def matches(result: Result) -> bool:
        return any(fnmatch.fnmatchcase(result.method.lower(), p.lower()) for p in patterns)

    found = [result for result in results if matches(result)]
    if not found:
        known = sorted({r.method for r in results if not r.is_control})
        raise DpbenchError(
            f"no method matches {', '.join(patterns)}{did_you_mean(patterns[0], known)} "
            f"(there are: {', '.join(known)})"
        )
    places = {
        (r.dataset, r.settings, r.protocol["name"], *through)
        for r in found
        for through in ((r.public, r.extractor), (None, None))
    }

    def beside(result: Result) -> bool:
        place = (result.dataset, result.settings, result.protocol["name"])
        return result.is_control and (*place, result.public, result.extractor) in places

    return [result for result in results if matches(result) or beside(result)]


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
    return Leaderboard(rows.results, runs, rows.set_aside)


def print_leaderboard(board: Leaderboard, console: Console, by: By = "method") -> None:
    """Print ``board``.

    Off a terminal it is plain, and 120 columns wide unless ``COLUMNS`` is set.
    """
    if console.is_terminal:
        console.print(board.rich(by, console.width))
    else:
        width = console.width if "COLUMNS" in os.environ else PLAIN_WIDTH
        console.file.write(board.render("table", by, width))


def write_leaderboard(runs: Path, directory: Path) -> list[Path]:
    """Write the leaderboard of all results under ``runs`` into ``directory``."""
    return load(runs).write(directory)

"""The leaderboard as a directory: results.csv, index.html, and a short README.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dpbench.errors import DpbenchError
from dpbench.leaderboard.board import Leaderboard
from dpbench.leaderboard.charts.over_epsilon import over_epsilon
from dpbench.leaderboard.html import make_page
from dpbench.leaderboard.html.page import standalone
from dpbench.leaderboard.markdown import as_code, as_text, markdown_table
from dpbench.leaderboard.notes import caption, notes
from dpbench.leaderboard.records import csv_text
from dpbench.leaderboard.report import Report, anchors, make_report
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.sheet import png, samples
from dpbench.leaderboard.submitted import with_submissions
from dpbench.leaderboard.tables import short_table
from dpbench.leaderboard.view import View
from dpbench.store import Store

__all__ = ["OWN", "write_files"]

#: Files of a page, by glob: those of an earlier one are removed.
OWN = ("index.html", "fid_over_epsilon*", "fid_over_clip*.png", "samples*.png",
       "reconstructions*.png", "trajectories*.png", "neighbours*.png")  # fmt: skip


def write_files(board: Leaderboard, directory: Path, view: View) -> tuple[list[Path], bool]:
    """Write ``board`` into ``directory``; return the files, and whether private images show.

    Pictures from an earlier page are removed, so that none stays that no longer
    belongs.

    Raises:
        DpbenchError: the directory cannot be written to, or ``view`` asks for what is not there.
    """
    report = with_submissions(make_report(board), directory)
    view.check([part.section for part in report.parts])
    page = make_page(report)
    drawn = [list(_draw(report, number)) for number in range(len(report.parts))]
    shown = [[(title, name) for title, name, _ in part] for part in drawn]
    files = {
        "results.csv": csv_text(report).encode(),
        "index.html": page.text.encode(),
        "README.md": _readme(report, view, shown, page.private).encode(),
        **{name: data for part in drawn for _, name, data in part},
    }
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for old in (path for pattern in OWN for path in directory.glob(pattern)):
            old.unlink(missing_ok=True)
        for name, data in files.items():
            (directory / name).write_bytes(data)
    except OSError as error:
        raise DpbenchError(
            f"cannot write the leaderboard to {directory} ({error.strerror or error}): "
            "name another directory"
        ) from error
    return [directory / name for name in files], page.private


def _draw(report: Report, number: int) -> Iterator[tuple[str, str, bytes]]:
    """Yield a part's plot and its samples: what each shows, its file's name and content."""
    section = report.parts[number].section
    suffix = f"-{_slug(section, report)}" if number else ""
    if svg := over_epsilon(section, "fid"):
        yield "FID over ε", f"fid_over_epsilon{suffix}.svg", standalone(svg).encode()
    if any(p.section.place[:2] == section.place[:2] for p in report.parts[:number]):
        return  # another protocol scores the same samples
    store = Store(report.runs / "artifacts") if report.runs else None
    figure = samples(section, store) if store else None
    if figure is not None:
        yield "Samples", f"samples{suffix}.png", png(figure)


def _slug(section: Section, report: Report) -> str:
    """Name a section in a file name; sections that differ in weights only get a number."""
    sections = [part.section for part in report.parts]
    parts = [p for p in section.place[1:] if p != "default"]
    slug = re.sub(r"[^a-z0-9]+", "-", "-".join([section.dataset, *parts]).lower()).strip("-")
    same = [s for s in sections if s.place == section.place]
    index = next(i for i, s in enumerate(same) if s is section)
    return f"{slug}-{index + 1}" if index else slug


def _readme(report: Report, view: View, drawn: list[list[tuple[str, str]]], private: bool) -> str:
    environment = Environment(
        loader=PackageLoader("dpbench.leaderboard"),
        autoescape=False,  # Markdown, not HTML
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"as_code": as_code, "as_text": as_text}
    sections: list[dict[str, Any]] = [
        {"part": part, "anchor": anchor, "table": markdown_table(short_table(part.section, view)),
         "notes": [*caption(part.section, short=True), *notes(part.section)], "pictures": shown}
        for part, anchor, shown in zip(report.parts, anchors(report), drawn, strict=True)
    ]  # fmt: skip
    text = environment.get_template("README.md.j2").render(
        sections=sections,
        made=report.made,
        set_aside=report.set_aside,
        private=private,
        submitted=markdown_table(report.submitted) if report.submitted else "",
    )
    return re.sub(r"\n{3,}", "\n\n", text)

"""The leaderboard as a directory: results.csv, README.md and pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from dpbench.errors import DpbenchError, UnknownName
from dpbench.leaderboard import pictures, plots
from dpbench.leaderboard.board import Leaderboard
from dpbench.leaderboard.markdown import markdown_table
from dpbench.leaderboard.records import csv_text
from dpbench.leaderboard.report import Part, Report, make_report
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.words import STATUSES, delta_text, duration
from dpbench.leaderboard.write import PRIVATE_PICTURES
from dpbench.results import Result, Run
from dpbench.store import Store

__all__ = ["draw", "write_page"]

PLOTS: dict[str, tuple[str, Callable[[Section], Figure | None]]] = {
    "fid_over_epsilon": ("FID over ε", plots.fid_over_epsilon),
    "fid_over_clip": ("FID over clip", plots.fid_over_clip),
}
PICTURES: dict[str, tuple[str, Callable[[Section, Store], Figure | None]]] = {
    "samples": ("Samples", pictures.samples),
    "reconstructions": ("Reconstructions", pictures.reconstructions),
    "trajectories": ("Samples during training", pictures.trajectories),
    "neighbours": ("Nearest private images", pictures.neighbours),
}

PLOT_DPI, PICTURE_DPI = 150, 110


def draw(name: str, section: Section, runs: Path | None) -> Figure:
    """Draw one picture of a section; those of images need the runs directory.

    Raises:
        UnknownName: there is no such picture.
        DpbenchError: there is nothing to draw.
    """
    if name not in {*PLOTS, *PICTURES}:
        raise UnknownName("picture", name, (*PLOTS, *PICTURES))
    figure = None
    if name in PLOTS:
        figure = PLOTS[name][1](section)
    elif runs is not None and not (section.secure and name in PRIVATE_PICTURES):
        figure = PICTURES[name][1](section, Store(runs / "artifacts"))
    if figure is None:
        raise DpbenchError(f"nothing to draw as {name!r} in {section.title}")
    return figure


@dataclass(frozen=True)
class Picture:
    """A PNG beside the page; ``private`` ones show private images."""

    title: str
    file: str
    private: bool


def write_page(board: Leaderboard, directory: Path) -> list[Path]:
    """Write ``board`` into ``directory``; return the files written.

    Pictures from an earlier page are removed, so that none stays that no longer
    belongs.

    Raises:
        DpbenchError: the directory cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name in (*PLOTS, *PICTURES):
            for old in directory.glob(f"{name}*.png"):
                old.unlink()
        report = make_report(board)
        files = [directory / "results.csv"]
        files[0].write_text(csv_text(report), encoding="utf-8")
        sections = []
        for number, section in enumerate(board.sections):
            suffix = f"-{_slug(section, board.sections)}" if number else ""
            drawn = any(s.place[:2] == section.place[:2] for s in board.sections[:number])
            runs = None if drawn else board.runs  # another protocol scores the same samples
            drawing = _draw(section, runs, directory, suffix)
            sections.append(_section(report.parts[number], drawing))
        shown = [p.file for s in sections for p in (*s["plots"], *s["pictures"])]
        page = directory / "README.md"
        page.write_text(_page(board, report, sections), encoding="utf-8")
    except OSError as error:
        raise DpbenchError(
            f"cannot write the leaderboard to {directory} ({error.strerror or error}): "
            "name another directory"
        ) from error
    return [*files, page, *(directory / file for file in shown)]


def _slug(section: Section, sections: list[Section]) -> str:
    """Name a section in a file name; sections that differ in weights only get a number."""
    parts = [p for p in section.place[1:] if p != "default"]
    slug = re.sub(r"[^a-z0-9]+", "-", "-".join([section.dataset, *parts]).lower()).strip("-")
    same = [s for s in sections if s.place == section.place]
    index = next(i for i, s in enumerate(same) if s is section)
    return f"{slug}-{index + 1}" if index else slug


def _draw(
    section: Section, runs: Path | None, directory: Path, suffix: str
) -> dict[str, list[Picture]]:
    """Draw what a section has to show; of a release, nothing that shows private images."""
    store = Store(runs / "artifacts") if runs else None
    drawn: dict[str, list[Picture]] = {"plots": [], "pictures": []}

    def keep(kind: str, name: str, title: str, figure: Figure | None) -> None:
        if figure is not None:
            dpi = PLOT_DPI if name in PLOTS else PICTURE_DPI
            plots.save(figure, directory / f"{name}{suffix}.png", dpi)
            drawn[kind].append(Picture(title, f"{name}{suffix}.png", name in PRIVATE_PICTURES))

    for name, (title, plot) in PLOTS.items():
        keep("plots" if name == "fid_over_epsilon" else "pictures", name, title, plot(section))
    for name, (title, draw) in PICTURES.items():
        if store and not (section.secure and name in PRIVATE_PICTURES):
            keep("pictures", name, title, draw(section, store))
    return drawn


def _section(part: Part, drawn: dict[str, list[Picture]]) -> dict[str, Any]:
    return {
        "part": part,
        "anchor": re.sub(r"[^a-z0-9 -]", "", part.title.lower()).replace(" ", "-"),
        "tables": [
            {"name": t.name, "title": t.title, "text": markdown_table(t)} for t in part.tables
        ],
        **drawn,
    }


def _page(board: Leaderboard, report: Report, sections: list[dict[str, Any]]) -> str:
    trials = [result for result in board.results if not result.is_control]
    counts: Counter[str] = Counter(result.status for result in trials)
    pictures = [picture for section in sections for picture in section["pictures"]]
    environment = Environment(
        loader=PackageLoader("dpbench.leaderboard"),
        autoescape=False,  # Markdown, not HTML
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    text = environment.get_template("README.md.j2").render(
        sections=sections,
        made=_made(board.history),
        set_aside=report.set_aside,
        statuses=[(s, meaning, counts[s]) for s, meaning in STATUSES.items()],
        deltas=" or ".join(map(delta_text, sorted({r.delta for r in trials if r.delta}))),
        audited=any(result.audit for result in trials),
        replayed=any(result.privacy and result.privacy.replay for result in trials),
        seeded=any(_is_seeded(result) for result in trials),
        private=[picture.file for picture in pictures if picture.private],
    )
    return re.sub(r"\n{3,}", "\n\n", text)


def _is_seeded(result: Result) -> bool:
    return result.privacy is not None and result.privacy.ledger.rng == "seeded"


def _made(history: Iterable[Run]) -> list[list[str]]:
    """Return a row for each run: command, time, when it ended, what it ran on."""
    return [
        [
            f"`{run.command}`",
            duration(run.wall_seconds),
            run.finished,
            ", ".join(f"{name} {value}" for name, value in run.versions.items()),
        ]
        for run in history
    ]

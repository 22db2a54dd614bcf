"""From a report to ``index.html``: one file with everything in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dpbench.analysis.explain import Share, explain
from dpbench.leaderboard.charts.epsilons import four_epsilons
from dpbench.leaderboard.charts.heat import best_clips
from dpbench.leaderboard.charts.over_epsilon import over_epsilon
from dpbench.leaderboard.charts.scatter import cost_and_quality, fidelity_and_diversity
from dpbench.leaderboard.charts.shares import draw_shares
from dpbench.leaderboard.html.images import Gallery, gallery, share_budget
from dpbench.leaderboard.html.panels import metric_panels, overview
from dpbench.leaderboard.html.settings import settings_table
from dpbench.leaderboard.report import Part, Report, anchors
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import Figures, control_table
from dpbench.leaderboard.words import STATUSES, count_text, privacy_text
from dpbench.store import Store

__all__ = ["Page", "make_page", "standalone"]

#: Figures that are drawn over epsilon; the first accuracies are, too.
DRAWN = ("fid", "is")
ACCURACIES = 2


@dataclass(frozen=True)
class Page:
    """The text of a page; ``private`` where it shows private images."""

    text: str
    private: bool


@dataclass(frozen=True)
class Chart:
    """A plot with its heading; a ``lead`` one stands below the table of its figure."""

    key: str
    title: str
    svg: Markup
    lead: bool = False


class _Uris(dict[int, str]):
    """Data URIs by picture: two pictures may hold the same pixels and say other things."""

    def __getitem__(self, picture: Any) -> str:
        return super().__getitem__(id(picture))


def make_page(report: Report) -> Page:
    """Render ``report`` with its plots, and with pictures where its runs are at hand."""
    galleries = _galleries(report)
    results = [r for part in report.parts for r in part.section.trials]
    statuses: Counter[str] = Counter(result.status for result in results)
    text = (
        _environment()
        .get_template("index.html.j2")
        .render(
            style=_asset("page.css") + _asset("plot.css"),
            script=_asset("page.js"),
            counts=_counts(len(results), len(report.parts)),
            sections=[
                _section(part, anchor, shown)
                for part, anchor, shown in zip(
                    report.parts, anchors(report), galleries, strict=True
                )
            ],
            uris=_Uris(share_budget(galleries)),
            made=report.made,
            set_aside=report.set_aside,
            submitted=report.submitted,
            statuses=[(s, meaning, statuses[s]) for s, meaning in STATUSES.items()],
            privacy=privacy_text(results),
        )
    )
    return Page(text, any(shown.private for shown in galleries))


def standalone(svg: str) -> str:
    """Return a plot as a file of its own, with its colours in light and in dark."""
    colours = _asset("page.css").partition("*{")[0]
    style = f"<style>svg{{background:var(--bg)}}{colours}{_asset('plot.css')}</style>"
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
        ">", f">{style}", 1
    )


def _counts(trials: int, parts: int) -> str:
    return f"{count_text(trials, 'trial')} in {count_text(parts, 'part')}"


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dpbench.leaderboard"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )


def _asset(name: str) -> Markup:
    """Return a file beside the template as it is: it is ours, and holds no markup."""
    environment = _environment()
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])


def _galleries(report: Report) -> list[Gallery]:
    """Gather pictures once for a data set and settings: protocols score the same samples."""
    store = Store(report.runs / "artifacts") if report.runs else None
    found, seen = [], set()
    for part in report.parts:
        place = part.section.place[:2]
        found.append(gallery(part.section, None if place in seen else store))
        seen.add(place)
    return found


def _section(part: Part, anchor: str, shown: Gallery) -> dict[str, Any]:
    section = part.section
    explained = explain(section)
    return {
        "part": part,
        "anchor": anchor,
        "epsilons": [section.target_text(target) for target in section.targets],
        "overview": overview(section),
        "panels": metric_panels(section),
        "settings": settings_table(section),
        "controls": control_table(section, Figures(section)),
        "charts": _charts(section, explained.shares),
        "sentences": explained.sentences,
        "gallery": shown,
    }


def _charts(section: Section, shares: Sequence[Share]) -> list[Chart]:
    figures = Figures(section)
    accuracies = [k for k in figures.extra() if _is_accuracy(figures, k)]
    drawn: list[tuple[str, str, str | None]] = [
        (key, f"{figures.title(key)} over ε", over_epsilon(section, key))
        for key in (*DRAWN, *accuracies[:ACCURACIES])
    ]
    others: dict[str, tuple[str, Callable[[Section], str | None]]] = {
        "clips": ("Clip: FID, best framed", best_clips),
        "fidelity": ("Fidelity against diversity", fidelity_and_diversity),
        "cost": ("Cost against quality", cost_and_quality),
        "epsilons": ("Four ε of each chosen trial", four_epsilons),
    }
    found = [Chart(key, name, Markup(svg), lead=True) for key, name, svg in drawn if svg]
    for key, (name, draw) in others.items():
        if svg := draw(section):
            found.append(Chart(key, name, Markup(svg)))
    if svg := draw_shares(shares):
        found.append(Chart("shares", "What the spread of FID comes from", Markup(svg)))
    return found


def _is_accuracy(figures: Figures, key: str) -> bool:
    """Say whether a figure is of a classifier that learnt from samples, over all classes."""
    return figures.column(key).better == "higher" and figures.title(key).startswith("accuracy")

"""FID over epsilon and over clip, as PNG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from dpbench.leaderboard.sections import PRIMARY, Candidate, Section, Target
from dpbench.leaderboard.tables import named_controls
from dpbench.leaderboard.words import heading, number, significant

__all__ = ["fid_over_clip", "fid_over_epsilon", "method_styles", "save"]

#: Okabe and Ito's palette, told apart by all common forms of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "D", "v", "P")
GREY = "#555555"
#: Where a mean is drawn, and of which candidate; ``None`` breaks the line.
Point = tuple[float, Candidate | None]
FAR_BELOW = 4.0
WORDS = {
    "real": "real images",
    "public-images": "public images",
    "reconstruction": "reconstruction",
    "public-prior": "public prior",
}


def method_styles(section: Section) -> dict[str, dict[str, Any]]:
    """Return line styles by method: colour by generator, dash and marker by latents."""
    parts = {r.method: (r.generator, (r.public, r.extractor)) for r in section.trials}
    generators = sorted({generator for generator, _ in parts.values()}, key=str)
    pairs = sorted({pair for _, pair in parts.values()}, key=str)
    styles = {}
    for method in section.methods:
        generator, pair = parts[method]
        index = pairs.index(pair)
        styles[method] = {
            "color": PALETTE[generators.index(generator) % len(PALETTE)],
            "linestyle": DASHES[index % len(DASHES)],
            "marker": MARKERS[index % len(MARKERS)],
        }
    return styles


def fid_over_epsilon(section: Section) -> Figure | None:
    """Draw the best clip's FID over epsilon per method; infinity stands at the right edge."""
    series = {m: list(_chosen_over_epsilon(section, m)) for m in section.methods}
    finite = sorted({x for points in series.values() for x, _ in points if math.isfinite(x)})
    if not any(candidate for points in series.values() for _, candidate in points):
        return None
    low, high = (finite[0], finite[-1]) if finite else (1.0, 1.0)
    infinity = high * max(high / low, 10.0) ** 0.3
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for index, (method, style) in enumerate(method_styles(section).items()):
        # Side by side, so that error bars of equal epsilon can be told apart.
        dodge = (infinity / low) ** (0.012 * (index - (len(series) - 1) / 2))
        points: list[Point] = [
            ((x if math.isfinite(x) else infinity) * dodge, c) for x, c in series[method]
        ]
        _draw(axes, points, style, method)
    axes.set_xscale("log")
    has_infinity = any(math.isinf(x) for points in series.values() for x, _ in points)
    _epsilon_ticks(axes, finite, infinity if has_infinity else None)
    hollow = any(c and c.collapsed for points in series.values() for _, c in points)
    note = "; hollow: collapsed" if hollow else ""
    axes.set_xlabel(f"ε (log scale; less private to the right{note})")
    _finish(axes, section)
    _control_lines(axes, section)
    _legend(figure, axes)
    figure.suptitle(f"FID over ε, best clip: {section.title}", fontsize=12)
    return figure


def fid_over_clip(section: Section) -> Figure | None:
    """Draw FID over clip, one panel per target."""
    targets = [t for t in section.targets if len(_clips(section, t)) > 1]
    if not targets:
        return None
    across = min(len(targets), 3)
    down = math.ceil(len(targets) / across)
    figure = Figure(figsize=(max(3.4 * across, 5), 3.4 * down + 0.9), layout="constrained")
    panels = figure.subplots(down, across, sharey=True, squeeze=False)
    styles = method_styles(section)
    for axes, target in zip(panels.flat, targets, strict=False):
        clips = _clips(section, target)
        for method in section.methods:
            for line in _swept(section, method, target):
                points: list[Point] = [(c.clip or 0.0, c) for c in line]
                _draw(axes, points, styles[method], method)
        axes.set_xscale("log")
        axes.set_xticks(clips, [f"{clip:g}" for clip in clips])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(section.target_text(target), fontsize=11)
        axes.set_xlabel("clip")
        _finish(axes, section)
    for axes in panels.flat:
        axes.label_outer()
    for axes in list(panels.flat)[len(targets) :]:
        axes.set_axis_off()
    _legend(figure, panels[0, 0])
    figure.suptitle(f"FID over clip: {section.title}", fontsize=12)
    return figure


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write ``figure`` as PNG, without the version of what drew it."""
    figure.savefig(path, dpi=dpi, facecolor="white", metadata={"Software": None})


def _chosen_over_epsilon(section: Section, method: str) -> Iterator[Point]:
    found: list[Point] = []
    for target in section.targets:
        best = section.chosen(method, target)
        epsilon = target.epsilon
        if target.noise_multiplier is not None:
            epsilon = best.spent if best else None
        if epsilon is not None:
            found.append((epsilon, best))
    yield from sorted(found, key=lambda point: point[0])


def _clips(section: Section, target: Target) -> list[float]:
    return sorted({c.clip for c in section.candidates if c.target == target and c.clip})


def _swept(section: Section, method: str, target: Target) -> list[list[Candidate]]:
    """Return the candidates of a panel's lines: one line per value of the other axes."""
    lines: dict[str, list[Candidate]] = {}
    for candidate in section.among(method, target):
        if candidate.clip and candidate.rankable:
            lines.setdefault(repr(candidate.axes), []).append(candidate)
    return list(lines.values())


def _draw(axes: Axes, points: Sequence[Point], style: dict[str, Any], label: str) -> None:
    """Draw means with their standard deviations; collapsed points are hollow.

    The line is broken where there is no candidate.
    """
    figures = [(x, c, c.figure(PRIMARY) if c else None) for x, c in points]
    xs = [x for x, _, _ in figures]
    means = [f.mean if f else math.nan for _, _, f in figures]
    spreads = [f.std or 0.0 if f else math.nan for _, _, f in figures]
    below = [min(s, 0.9 * m) for s, m in zip(spreads, means, strict=True)]  # a log scale has no 0
    line = {k: style[k] for k in ("color", "linestyle")}
    axes.errorbar(xs, means, [below, spreads], label=None, capsize=2.5, lw=1.6, **line)
    named = {label} & {handle.get_label() for handle in axes.get_lines()}
    axes.plot([], [], label=None if named else label, lw=1.6, ms=6, **style)
    for x, candidate, figure in figures:
        if figure and candidate:
            face = "white" if candidate.collapsed else style["color"]
            axes.plot(
                x,
                figure.mean,
                marker=style["marker"],
                color=style["color"],
                markerfacecolor=face,
                ms=6,
                zorder=3,
            )


def _epsilon_ticks(axes: Axes, finite: list[float], infinity: float | None) -> None:
    shown: list[float] = []
    for value in finite:  # leave out what would overprint its neighbour
        if not shown or value > shown[-1] * 1.12:
            shown.append(value)
    ticks = [*shown, *([infinity] if infinity else [])]
    axes.set_xticks(ticks, [*map(significant, shown), *(["∞"] if infinity else [])])
    axes.xaxis.set_minor_locator(NullLocator())
    if infinity and finite:
        axes.axvline(math.sqrt(infinity * finite[-1]), color="#bbbbbb", lw=0.8, ls=(0, (2, 4)))


def _finish(axes: Axes, section: Section) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"{heading('FID', section.protocol)}, log scale")
    axes.grid(axis="y", color="#e5e5e5", lw=0.7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def _control_lines(axes: Axes, section: Section) -> None:
    """Draw controls as grey lines, named at the right; one of several kinds is a band."""
    groups: dict[str, list[float]] = {}
    for name, _, control in named_controls(section):
        if fid := control.metrics.get(PRIMARY):
            groups.setdefault(name, []).append(fid)
    low, high = axes.get_ylim()
    labels: list[tuple[float, str]] = []
    for name, fids in groups.items():
        least, most = min(fids), max(fids)
        label = WORDS.get(name, name)
        if most < low / FAR_BELOW:  # drawn to scale, it would squeeze everything else
            labels.append((0.0, f"{label}: {number(most)} ↓"))
            continue
        for fid in {least, most}:
            axes.axhline(fid, color=GREY, lw=0.9, ls=(0, (6, 3)), zorder=0.5)
        axes.axhspan(least, most, color=GREY, alpha=0.1, lw=0, zorder=0.4)
        labels.append((math.sqrt(least * most), label))
        low, high = min(low, least / 1.15), max(high, most * 1.15)
    axes.set_ylim(low, high)
    floor = -math.inf
    for fid, label in sorted(labels):
        height = max(math.log(max(fid / low, 1.0)) / math.log(high / low), floor)
        floor = height + 0.05
        axes.annotate(
            label, (1.01, height), xycoords="axes fraction", fontsize=9, color=GREY, va="center"
        )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    colors = {handle.get_color() for handle in handles if isinstance(handle, Line2D)}
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(math.ceil(len(labels) / max(len(colors), 1)), 4),
        frameon=False,
        fontsize=9.5,
        handlelength=3.2,
    )

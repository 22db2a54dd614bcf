"""Methods by epsilon: FID and IS side by side, and one table for each further figure."""

from __future__ import annotations

from dpbench.leaderboard.candidates import PRIMARY, Candidate
from dpbench.leaderboard.charts.figures import row_id
from dpbench.leaderboard.html.cells import Cell, Grid, Head, Row, sort_value
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import COLLAPSED, MISSING, Figures, absence
from dpbench.leaderboard.words import interval_text, number

__all__ = ["metric_panels", "overview"]


def overview(section: Section) -> Grid:
    """Return rank, FID and IS of every method's chosen candidate at every target."""
    figures = Figures(section)
    titles = ("#", "FID", "IS")
    ranks = [section.ranks(target) for target in section.targets]
    rows = []
    for method in section.by_rank():
        seeds = _seeds(section, method)
        usual = seeds in (None, section.usual_seeds)
        # once by the name: beside every figure it would make the table wider than a screen
        cells = [Cell(method, note="" if usual else f"(n = {seeds})")]
        for target, labels in zip(section.targets, ranks, strict=True):
            best = section.chosen(method, target)
            label = labels.get(method, "")
            first = label.rstrip("=?") == "1"
            rank = Cell(
                (label or MISSING) + (COLLAPSED if best and best.collapsed else ""),
                label.rstrip("=?") or None,
            )
            reason = absence(section, method, target)
            cells += [rank, _figure(figures, best, PRIMARY, first, reason, seeds=seeds)]
            cells.append(_figure(figures, best, "is", seeds=seeds))
        rows.append(Row(tuple(cells), method))
    heads = [Head("method", left=True)]
    for index in range(len(section.targets)):
        better = (True, True, False)
        heads += [Head(t, index, lower_first=b) for t, b in zip(titles, better, strict=True)]
    return Grid(
        "overview",
        "FID and IS",
        f"{figures.title(PRIMARY)} and {figures.title('is')} of the best setting per method and ε, "
        "in order of mean rank; mean ± standard deviation over seeds",
        tuple(heads),
        tuple(rows),
        (("", 1, None), *((section.target_text(t), 3, i) for i, t in enumerate(section.targets))),
    )


def _seeds(section: Section, method: str) -> int | None:
    """Return how many seeds a method's figures rest on, where that is the same for all."""
    chosen = [section.chosen(method, target) for target in section.targets]
    found = [c.figure(key) for c in chosen if c for key in (PRIMARY, "is")]
    counts = {figure.count for figure in found if figure}
    return counts.pop() if len(counts) == 1 else None


def metric_panels(section: Section) -> list[Grid]:
    """Return one table for each figure: methods by epsilon."""
    figures = Figures(section)
    return [_panel(section, figures, key) for key in (PRIMARY, *figures.extra())]


def _panel(section: Section, figures: Figures, key: str) -> Grid:
    reading = figures.column(key).better
    lower = reading != "higher"
    better = {"lower": ", lower is better", "higher": ", higher is better", "none": ""}
    heads = [Head("method", left=True)]
    heads += [Head(section.target_text(t), i, lower_first=lower)
              for i, t in enumerate(section.targets)]  # fmt: skip
    best = [_best(section, key, figures, index) for index in range(len(section.targets))]
    rows = []
    for method in section.by_rank():
        chosen = [section.chosen(method, target) for target in section.targets]
        cells = [
            _figure(figures, candidate, key, method in best[index], shared=key == PRIMARY)
            for index, candidate in enumerate(chosen)
        ]
        rows.append(Row((Cell(method), *cells), method))
    title = figures.title(key)
    caption = f"{title} of the chosen settings{better[reading]}"
    return Grid(key, title, caption, tuple(heads), tuple(rows))


def _best(section: Section, key: str, figures: Figures, index: int) -> set[str]:
    """Return the methods of the best figure at a target: of FID, all of the first rank."""
    if key == PRIMARY:
        labels = section.ranks(section.targets[index])
        return {method for method, label in labels.items() if label.rstrip("=?") == "1"}
    better = figures.column(key).better
    found = {}
    for method in section.methods:
        candidate = section.chosen(method, section.targets[index])
        figure = candidate.figure(key) if candidate and not candidate.collapsed else None
        if figure and better != "none":
            found[method] = figure.mean if better == "lower" else -figure.mean
    return {min(found, key=lambda method: found[method])} if found else set()


def _figure(
    figures: Figures,
    best: Candidate | None,
    key: str,
    first: bool = False,
    reason: str = MISSING,
    shared: bool = False,
    seeds: int | None = None,
) -> Cell:
    """Return a figure that leads to its candidate's row.

    Args:
        shared: add its share of the public images' figure.
        seeds: how many are told elsewhere; ``None``: the section's usual ones.
    """
    figure = best.figure(key) if best else None
    if best is None or figure is None:
        return Cell(reason)
    digits = figures.column(key).digits
    spread = interval_text(figure, digits, seeds or figures.section.usual_seeds)
    mean = number(figure.mean, digits)
    note = spread.removeprefix(mean).strip()
    if shared and (share := figures.ratio(figure.mean)) != MISSING:
        note = f"{note} · {share} of public".lstrip(" ·")
    return Cell(mean, sort_value(figure.mean), row_id(best), first, note)

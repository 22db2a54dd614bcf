"""What stands beneath a section's tables: what was left out of the ranking, and why."""

from __future__ import annotations

import math

from dpbench.described import described
from dpbench.errors import DpbenchError
from dpbench.leaderboard.candidates import PRIMARY, SCORED, Candidate
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.words import count_text, delta_text
from dpbench.planning.config import read_config, unknown_parts
from dpbench.results import Result

__all__ = ["caption", "not_installed", "notes", "other_seeds", "unranked"]


def caption(section: Section, short: bool = False) -> list[str]:
    """Say how to read the scores of a section; ``short`` tables have neither spreads nor shares."""
    lines = ["FID: lower is better. IS: higher is better."]
    if section.public_fid and short:
        lines.append(f"FID of the public images: {section.public_fid:.1f}.")
    elif section.public_fid:
        lines.append(
            f"/ public: FID as a fraction of that of the public images ({section.public_fid:.1f})."
        )
    if section.usual_seeds > 1:
        figures = "Means" if short else "Mean ± standard deviation"
        lines.append(
            f"{figures} over {section.usual_seeds} seeds. A rank is one more than "
            "the number of methods surely better: paired over seeds, and such that all pairs "
            "together err in at most 5% of boards (=: shared; ?: too few seeds in common to test)."
        )
    elif section.usual_seeds == 1:
        lines.append("n = 1: one seed a trial, so no spread is known and ranks are untested.")
    return lines


def notes(section: Section) -> list[str]:
    """Return the notes that the section's own results call for."""
    found = []
    if any("collapsed" in c.statuses for c in section.candidates):
        found.append("† collapsed: a private class holds under 1% of the samples; ranked last.")
    private = [c for c in section.candidates if c.target.private]
    if private:
        deltas = sorted({c.target.delta for c in private if c.target.delta})
        named = " or ".join(map(delta_text, deltas))
        found.append(
            "ε is per trial, for one private image replaced by a null record (zero-out adjacency)"
            + (f", δ = {named}." if named else ".")
        )
    if any(_by_scores(section, chosen) for chosen, _ in section.selected()):
        found.append(
            "ε with selection is ∞ where the best of several trials was chosen by private scores: "
            "one image can turn that choice."
        )
    if any(c.incomplete and c.rankable for c in section.candidates):
        found.append("A clip of which some seed gave no score is chosen only if there is no other.")
    disagreeing = sum(_disagrees(result) for result in section.trials)
    if disagreeing:
        trials = count_text(disagreeing, "trial")
        found.append(f"The two accountants differ by over 2% in {trials}.")
    return (
        found
        + not_installed(section)
        + other_seeds(section)
        + _sharpened(section)
        + _not_replayed(section)
        + _missing_figures(section)
    )


def other_seeds(section: Section) -> list[str]:
    """Name the methods whose figures rest on another number of seeds than most."""
    counts: dict[int, set[str]] = {}
    for chosen, _ in section.selected():
        count = len(chosen.seeds(PRIMARY))
        if count != section.usual_seeds:
            counts.setdefault(count, set()).add(chosen.method)
    return [
        f"{count_text(count, 'seed')} alone: {', '.join(sorted(methods))}."
        for count, methods in sorted(counts.items())
    ]


def _by_scores(section: Section, chosen: Candidate) -> bool:
    epsilon = section.with_selection(chosen)
    return chosen.target.private and epsilon is not None and math.isinf(epsilon)


def _disagrees(result: Result) -> bool:
    return result.privacy is not None and result.privacy.spent.disagrees


def not_installed(section: Section) -> list[str]:
    """Say which rows cannot be made again here, because a plugin is gone."""
    try:
        file, plugins = read_config(None), described().names
    except DpbenchError:  # the results stand, whatever is wrong with a configuration
        return []
    methods = {r.method: r for r in section.trials}.values()  # which alike results are of
    gone = {(r.method, part) for r in methods for part in unknown_parts(file, plugins, r)}
    return [
        f"{method}: plugin not installed: {part}; `dpbench clean --uninstalled` removes its rows"
        for method, part in sorted(gone)
    ]


def _sharpened(section: Section) -> list[str]:
    """Say by how much decoded images were sharpened, where any were."""
    factors = [r.sharpness for r in section.trials if r.sharpness]
    if not factors:
        return []
    most, least = (f"{end(factors):.1f}" for end in (max, min))
    times = most if most == least else f"{least} to {most}"
    return [
        "Decoded images are sharpened until fine detail stands to coarse detail as in public "
        f"images: the finest became {times} times as strong."
    ]


def _not_replayed(section: Section) -> list[str]:
    """Say of which methods the replay check could say nothing, and why."""
    replays = ((r.method, r.privacy.replay) for r in section.trials if r.privacy)
    found = {(m, v.reason) for m, v in replays if v and v.verdict == "not-replayed"}
    return [f"{method}: not replayed: {reason}" for method, reason in sorted(found)]


def _missing_figures(section: Section) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for result in (*section.trials, *section.controls):
        for metric, reason in result.unavailable.items():
            counts[metric, reason] = counts.get((metric, reason), 0) + 1
    return [
        f"{metric}: not available for {count_text(number, 'row')}: {reason}"
        for (metric, reason), number in sorted(counts.items())
    ]


def unranked(section: Section) -> list[str]:
    """List what is not ranked, with the reason; clips and seeds of one cause share a line."""
    groups: dict[tuple[str, str, str, str], list[Result]] = {}
    for candidate in section.candidates:
        distrust = section.distrust(candidate.method, candidate.target)
        for result in candidate.results:
            status: str = result.status
            reason = result.reason or ""
            if distrust:
                status, reason = distrust
            elif status in SCORED:
                if PRIMARY in result.metrics:
                    continue
                status, reason = "no FID", result.unavailable.get(PRIMARY, "not computed")
            target = section.target_text(candidate.target)
            groups.setdefault((candidate.method, target, status, reason), []).append(result)
    for control in section.controls:
        if control.status != "ok":
            named = "-".join(filter(None, (control.method, control.public, control.extractor)))
            groups[named, "", control.status, control.reason or ""] = []
    return [
        ": ".join(filter(None, (_where(method, target, results), status, reason)))
        for (method, target, status, reason), results in groups.items()
    ]


def _where(method: str, target: str, results: list[Result]) -> str:
    clips = sorted({r.clip for r in results if r.clip is not None})
    seeds = sorted({r.seed for r in results if r.seed is not None})
    parts = [method, target]
    if clips:
        parts.append(f"clip {', '.join(f'{clip:g}' for clip in clips)}")
    if seeds:
        parts.append(f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}")
    return "; ".join(filter(None, parts))

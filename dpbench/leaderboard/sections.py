"""Which results may be compared: sections, and the candidates within them."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dpbench.leaderboard.candidates import PRIMARY, Candidate, Target, axis_order
from dpbench.leaderboard.words import delta_text, significant
from dpbench.metrics.uncertainty import rank
from dpbench.planning.config import ConfigFile
from dpbench.planning.selector import InvalidSelector, Selector
from dpbench.results import CONTROL, DEFAULT, Result, by_cell, selection
from dpbench.results.identity import Labels

__all__ = ["Section", "make_sections"]

#: Protocols whose tables come first: the one to cite, then the one that always is there.
FIRST_PROTOCOLS = ("canonical", "default")
FIRST_DATASET = ConfigFile.model_fields["dataset"].default


@dataclass
class Section:
    """Results of one data set, with or without labels, of one settings heading and protocol.

    ``rivals`` are all trained trials that are known, by the key of their cell: also those under
    other protocols or settings, and those that are not shown.
    """

    dataset: str
    settings: str
    protocol: dict[str, Any]
    labels: Labels = "none"
    trials: list[Result] = field(default_factory=list)
    controls: list[Result] = field(default_factory=list)
    rivals: Mapping[str, Sequence[Result]] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str, str]:
        labelled = ["labels"] if self.labels != "none" else []
        names = [self.settings] if self.settings != DEFAULT or not labelled else []
        return self.dataset, "-".join([*names, *labelled]), self.protocol["name"]

    @property
    def order(self) -> tuple[Any, ...]:
        name = self.protocol["name"]
        place = FIRST_PROTOCOLS.index(name) if name in FIRST_PROTOCOLS else len(FIRST_PROTOCOLS)
        return (
            (self.dataset != FIRST_DATASET, self.dataset),
            (self.settings != DEFAULT, len(self._changes), self.settings),
            self.labels,
            (place, name),
            -len(self.trials),
        )

    @property
    def title(self) -> str:
        labelled = ", private labels" if self.labels != "none" else ""
        name = self.protocol["name"]
        return f"{self.dataset}{labelled}, {self._settings_title}, protocol {name}"

    @property
    def _settings_title(self) -> str:
        """Name hyperparameters by the grids that mentioned them, and by what was swept or given."""
        grids = sorted({grid for trial in self.trials for grid in trial.grids})
        named = [f"grid{'s' * (len(grids) > 1)} {', '.join(grids)}"] if grids else []
        changes = [f"{k} = {'|'.join(map(str, values))}" for k, values in self._changes.items()]
        if self.settings == DEFAULT or not (named or changes):
            return f"{self.settings} settings"
        if grids == [self.settings] and not changes:
            return f"{self.settings} settings"
        return f"settings {self.settings} ({'; '.join([*named, *changes])})"

    @cached_property
    def _changes(self) -> dict[str, list[Any]]:
        """Values by hyperparameter: what grids swept, and what stood in brackets."""
        told = {repr(trial.axes): trial.axes.items() for trial in self.trials}
        found = [(name, value) for axes in told.values() for name, value in axes]
        for selector in {name for trial in self.trials for name in trial.selectors}:
            with contextlib.suppress(InvalidSelector):  # a row may come from anywhere
                given = Selector.parse(selector).params
                found += [(name, value) for name, values in given.items() for value in values]
        changes: dict[str, list[Any]] = {}
        for name, value in sorted(found, key=lambda pair: (pair[0], axis_order(pair[1]))):
            same = changes.setdefault(name.rpartition(".")[2], [])
            same += [value] * (value not in same)
        return changes

    @cached_property
    def candidates(self) -> list[Candidate]:
        groups: dict[str, list[Result]] = {}
        for result in self.trials:
            groups.setdefault(result.candidate_key, []).append(result)
        found = [
            Candidate(r[0].method, Target.of(r[0]), r[0].varied, tuple(r)) for r in groups.values()
        ]
        return sorted(found, key=lambda c: (c.target.order, c.method, c.clip or 0, c.axes_order))

    @cached_property
    def targets(self) -> list[Target]:
        return sorted(dict.fromkeys(c.target for c in self.candidates), key=lambda t: t.order)

    @cached_property
    def methods(self) -> list[str]:
        return sorted({c.method for c in self.candidates}, key=str.lower)

    @cached_property
    def usual_seeds(self) -> int:
        """The number of seeds that most candidates have."""
        counts = Counter(len(c.seeds(PRIMARY)) for c in self.candidates if c.seeds(PRIMARY))
        return max(counts, key=lambda n: (counts[n], n)) if counts else 0

    @property
    def secure(self) -> bool:
        """Some row is a release: nothing here may show private images."""
        return any(result.secure for result in (*self.trials, *self.controls))

    @cached_property
    def _cells(self) -> dict[tuple[str, Target], list[Candidate]]:
        cells: dict[tuple[str, Target], list[Candidate]] = {}
        for candidate in self.candidates:
            cells.setdefault((candidate.method, candidate.target), []).append(candidate)
        return cells

    def among(self, method: str, target: Target) -> list[Candidate]:
        """Return the candidates of a cell: one per clip and value of other axes."""
        return self._cells.get((method, target), [])

    def distrust(self, method: str, target: Target) -> tuple[str, str] | None:
        """Return why a method is not ranked at a target, whatever its scores.

        An audit refutes the clips of one target; what replay finds is in the code.
        """
        for candidate in self.among(method, target):
            if candidate.refutation:
                return "refuted", candidate.refutation
        leak = self._leaks.get(method)
        return ("replay failed", leak) if leak else None

    @cached_property
    def _leaks(self) -> dict[str, str]:
        return {c.method: leak for c in self.candidates if (leak := c.leak)}

    def chosen(self, method: str, target: Target) -> Candidate | None:
        """Return the candidate that a rule other than scores picks, else the best by mean FID.

        ``None`` where the former, or every one, cannot be ranked.
        """
        slot = (method, target)
        if slot not in self._chosen:
            among = [] if self.distrust(method, target) else self.among(method, target)
            picked = [c for c in among if c.choice.chosen]
            rankable = [c for c in picked or among if c.rankable]
            self._chosen[slot] = min(rankable, key=lambda c: c.worth, default=None)
        return self._chosen[slot]

    @cached_property
    def _chosen(self) -> dict[tuple[str, Target], Candidate | None]:
        return {}

    def with_selection(self, chosen: Candidate) -> float | None:
        """Return the epsilon of publishing ``chosen`` as the one chosen among its rivals.

        Infinite where exact private scores chose: one image can turn that choice. ``None``
        where it is not the one chosen.
        """
        if chosen is not self.chosen(chosen.method, chosen.target):
            return None
        among = self.rivals.get(chosen.results[0].cell_key, ())
        return selection(chosen.results, among).epsilon

    def selected(self) -> Iterator[tuple[Candidate, float | None]]:
        """Yield what is shown of every method at every target, with its epsilon."""
        for target in self.targets:
            for method in self.methods:
                if chosen := self.chosen(method, target):
                    yield chosen, self.with_selection(chosen)

    def ranks(self, target: Target) -> dict[str, str]:
        """Rank the methods' chosen candidates, with ties; collapsed ones come last."""
        if target not in self._ranks:
            self._ranks[target] = self._ranked(target)
        return self._ranks[target]

    @cached_property
    def _ranks(self) -> dict[Target, dict[str, str]]:
        return {}

    def _ranked(self, target: Target) -> dict[str, str]:
        chosen = [c for m in self.methods if (c := self.chosen(m, target))]
        labels: dict[str, str] = {}
        for collapsed in (False, True):
            group = {c.method: c.seeds(PRIMARY) for c in chosen if c.collapsed == collapsed}
            before = len(labels)
            labels |= {m: _shift(label, before) for m, label in rank(group, "lower").items()}
        if self.usual_seeds == 1:  # said once, in the caption
            labels = {method: label.rstrip("?") for method, label in labels.items()}
        return labels

    def by_rank(self, targets: Sequence[Target] = ()) -> list[str]:
        """Return the methods, best first: by mean rank over the common ones of ``targets``.

        ``targets`` are all if empty. Where a method is not ranked, it stands behind all that are.
        """
        places = [self._places(target) for target in self.common(targets or self.targets)]

        def worth(method: str) -> float:
            return sum(place.get(method, len(self.methods)) for place in places)

        return sorted(self.methods, key=worth)

    def common(self, targets: Sequence[Target]) -> Sequence[Target]:
        """Return those of ``targets`` that most methods were tried at; all if there is none.

        A method is not better than others for a target that they were never tried at.
        """
        tried = Counter(target for _, target in self._cells)
        return [t for t in targets if 2 * tried[t] > len(self.methods)] or targets

    def _places(self, target: Target) -> dict[str, float]:
        """Return ranks as numbers; the mean FID orders methods that share one."""
        labels = self.ranks(target)
        chosen = [c for m in self.methods if (c := self.chosen(m, target)) and m in labels]
        ranks = {c.method: int(labels[c.method].rstrip("=?")) for c in chosen}
        order = sorted(chosen, key=lambda c: (ranks[c.method], c.worth))
        return {c.method: ranks[c.method] + 1e-3 * n for n, c in enumerate(order)}

    @property
    def public_fid(self) -> float | None:
        """FID of the public images: what other figures are divided by."""
        public = [c for c in self.controls if c.method == f"{CONTROL}public-images"]
        return next((fid for c in public if (fid := c.metrics.get(PRIMARY))), None)

    def target_text(self, target: Target) -> str:
        """Name a target; one given as noise is named with the epsilon it came to."""
        several = len({t.delta for t in self.targets}) > 1 and target.private
        suffix = f", δ = {delta_text(target.delta)}" if several and target.delta else ""
        if target.noise_multiplier is None:
            epsilon = math.inf if target.epsilon is None else target.epsilon
            return f"ε = {significant(epsilon)}{suffix}"
        here = [c.spent for c in self.candidates if c.target == target]
        names = [significant(spent) for spent in sorted(s for s in here if s is not None)]
        came_to = f" (ε = {' to '.join(dict.fromkeys((names[0], names[-1])))})" if names else ""
        return f"σ = {target.noise_multiplier:g}{came_to}{suffix}"


def _shift(label: str, before: int) -> str:
    digits = label.rstrip("=?")
    return f"{int(digits) + before}{label[len(digits) :]}"


def make_sections(
    results: Iterable[Result], everything: Iterable[Result] | None = None
) -> list[Section]:
    """Part results so that only comparable ones share a section.

    ``everything`` are all results that are known, where ``results`` are a part of them. A trial
    that was never scored knows only its protocol's name; it joins the largest section of that
    name.
    """
    results = list(results)
    rivals = by_cell(results if everything is None else everything)
    sections: dict[tuple[str, ...], Section] = {}
    unscored: list[Result] = []
    for result in results:
        identity = {k: v for k, v in result.protocol.items() if not k.startswith("metric")}
        if "evaluator" not in identity:
            unscored.append(result)
            continue
        own = Section(result.dataset, result.settings, identity, result.labels, rivals=rivals)
        section = sections.setdefault((*own.place, json.dumps(identity, sort_keys=True)), own)
        (section.controls if result.is_control else section.trials).append(result)
    for result in unscored:
        name = {"name": result.protocol["name"]}
        own = Section(result.dataset, result.settings, name, result.labels, rivals=rivals)
        same = [s for s in sections.values() if s.place == own.place]
        if not same:
            same = [own]
            sections[own.place] = own
        section = max(same, key=lambda s: len(s.trials))
        (section.controls if result.is_control else section.trials).append(result)
    return sorted(sections.values(), key=lambda s: s.order)

"""Everything that is known of one trial, as a person reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpbench.errors import DpbenchError, printable
from dpbench.leaderboard.board import Leaderboard
from dpbench.leaderboard.candidates import PRIMARY, Candidate
from dpbench.leaderboard.sections import Section
from dpbench.leaderboard.tables import MISSING, Figures, trust_text
from dpbench.leaderboard.words import STATUSES, delta_text, duration, number, significant
from dpbench.planning.again import request_again
from dpbench.planning.config import Config
from dpbench.planning.trials import Trial, plan_trials
from dpbench.results import DEFAULT, Result
from dpbench.results.find import UnknownTrial, find_trial
from dpbench.upkeep.logs import logs_of

__all__ = ["Dossier", "Parameters", "find", "parameters_of"]


@dataclass(frozen=True)
class Dossier:
    """A trial among its section; ``candidate`` holds it with its other seeds.

    ``results``: all that were read, as what it trained with may be of other sections.
    """

    section: Section
    candidate: Candidate
    result: Result
    results: tuple[Result, ...]

    def lines(self, parameters: Parameters, runs: Path) -> Iterator[tuple[str, str]]:
        """Yield what is known, each with the heading it stands under; equal ones follow."""
        yield from (("trial", text) for text in self._named())
        yield from (("parameters", text) for text in self._parameters(parameters))
        yield from (("scores", text) for text in self._scores())
        yield from (("privacy", text) for text in self._privacy())
        yield from (("audit", text) for text in self._audit())
        yield from (("cost", text) for text in self._cost())
        yield from (("log", text) for text in self._logs(runs / "logs"))

    def _named(self) -> Iterator[str]:
        r, target = self.result, self.section.target_text(self.candidate.target)
        clip = f"clip {self.candidate.setting}, " if self.candidate.clip is not None else ""
        yield f"{r.method} at {target}, {clip}seed {r.seed}"
        yield f"public model {r.public}, extractor {r.extractor}, private generator {r.generator}"
        yield self.section.title
        yield f"key {r.key[:10]}; status {r.status}: {r.reason or STATUSES[r.status]}"
        ranks = self.section.ranks(self.candidate.target)
        chosen = self.section.chosen(r.method, self.candidate.target) is self.candidate
        if chosen and r.method in ranks:
            yield f"rank {ranks[r.method]} of {len(ranks)}; stands for its method at this ε"
        elif not chosen:
            yield "another setting stands for its method at this ε"

    def _parameters(self, parameters: Parameters) -> Iterator[str]:
        if self.result.settings != DEFAULT:
            grids = ", ".join(self.result.grids)
            lost = "" if parameters.own else " own values were not kept; the defaults are:"
            yield f"settings {self.result.settings} of grid {grids}:{lost}"
        values = parameters.values.items()
        yield ", ".join(f"{n} {_plain(v)}" for n, v in values if v is not None)
        if by_rule := [name for name, value in values if value is None]:
            yield f"by a rule of the generator: {', '.join(by_rule)}"

    def _scores(self) -> Iterator[str]:
        figures = Figures(self.section)
        for key in (PRIMARY, *figures.extra()):
            figure, own = self.candidate.figure(key), self.result.metrics.get(key)
            if figure is None:
                continue
            digits = figures.column(key).digits
            said = f"{figures.title(key)}: {number(figure.mean, digits)}"
            if figure.low is not None and figure.high is not None:
                ends = f"{number(figure.low, digits)} to {number(figure.high, digits)}"
                said += f" (95% {ends}, {figure.count} seeds)"
            if own is not None and figure.count > 1:
                said += f"; this seed {number(own, digits)}"
            yield said
        for metric, reason in self.result.unavailable.items():
            yield f"{metric}: not available: {reason}"

    def _privacy(self) -> Iterator[str]:
        privacy, r = self.result.privacy, self.result
        if privacy is None:
            yield "nothing was trained"
            return
        chosen = self.section.with_selection(self.candidate)
        four = (self.candidate.claimed, r.epsilon_spent, chosen, self.candidate.audited)
        names = ("claimed", "accounted", "with selection", "audited, at least")
        said = (f"{n} {MISSING if v is None else significant(v)}"
                for n, v in zip(names, four, strict=True))  # fmt: skip
        yield f"ε {', '.join(said)}; δ = {delta_text(privacy.spent.delta)}"
        yield f"accountants: {_accountants(r)}; trust: {trust_text(self.candidate)}"
        for used in privacy.ledger.mechanisms:
            yield (
                f"{used.name}: {used.count:,} x noise multiplier "
                f"{significant(used.noise_multiplier)}, sampling rate "
                f"{significant(used.sampling_rate)}, sensitivity {significant(used.sensitivity)}"
            )
        yield f"randomness: {privacy.ledger.rng}"

    def _audit(self) -> Iterator[str]:
        found = self.result.audit
        if found is None:
            yield f"none yet: dpbench audit {self.result.method}"
            return
        yield (
            f"{found.kind}: ε ≥ {significant(found.epsilon_lower)} with {found.confidence:.0%} "
            f"confidence ({found.correct} of {found.guesses} guesses right, {found.runs} runs)"
        )

    def _cost(self) -> Iterator[str]:
        for stage, seconds in self.result.seconds.items():
            yield f"{stage}: {duration(seconds)}"

    def _logs(self, logs: Path) -> Iterator[str]:
        """Yield the logs that its tasks left, and the last line of each."""
        for path in logs_of(logs, self.result, self.results):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            yield f"{path}: {printable(text.splitlines()[-1]) if text else 'empty'}"


def _plain(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _accountants(result: Result) -> str:
    assert result.privacy is not None
    spent = result.privacy.spent
    return f"Opacus {significant(spent.opacus)}, dp-accounting {significant(spent.dp_accounting)}"


def find(board: Leaderboard, name: str, clip: float | None, seed: int | None) -> Dossier:
    """Return the trial called ``METHOD@EPSILON``, its key's beginning, or its row's number.

    Of several clips the one that stands for its method, of several seeds the first.

    Raises:
        UnknownTrial: there is none.
    """
    wanted = _by_number(board, name) or _by_method(board, name, clip)
    result = wanted or find_trial(board.results, name, clip=clip)
    for section in board.sections:
        for candidate in section.candidates:
            if result.key in {one.key for one in candidate.results}:
                own = [one for one in candidate.results if seed is None or one.seed == seed]
                if not own:
                    raise UnknownTrial(f"{name} was not trained with seed {seed}")
                exact = wanted is None or name.isdigit()
                shown = result if exact and seed is None else own[0]
                return Dossier(section, candidate, shown, board.results)
    raise UnknownTrial(f"{name!r} is a control: see `dpbench leaderboard --detail`")


def _by_number(board: Leaderboard, name: str) -> Result | None:
    """Return the result in a row that ``dpbench leaderboard --by seed`` counts."""
    keys = {number: key for key, number in board.numbers.items()}
    key = keys.get(int(name)) if name.isdigit() and len(name) < 6 else None
    if name.isdigit() and len(name) < 6 and key is None:
        raise UnknownTrial(f"there are {len(keys)} rows: see `dpbench leaderboard --by seed`")
    return next((result for result in board.results if result.key == key), None)


def _by_method(board: Leaderboard, name: str, clip: float | None) -> Result | None:
    """Return the first result of the candidate that stands for a method at an epsilon."""
    method, at, epsilon = name.rpartition("@")
    for section in board.sections:
        for target in section.targets if at else ():
            written = {section.target_text(target).removeprefix("ε = ")}
            if target.noise_multiplier is None:  # what given noise comes to is no target
                written.add(f"{math.inf if target.epsilon is None else target.epsilon:g}")
            if epsilon not in written:
                continue
            names = [m for m in section.methods if m.lower() == method.lower()]
            chosen = [section.chosen(m, target) for m in names]
            among = [c for m in names for c in section.among(m, target)]
            found = [c for c in (*chosen, *among) if c and clip in (None, c.clip)]
            if found:
                return found[0].results[0]
    return None


@dataclass(frozen=True)
class Parameters:
    """Hyperparameters of a trial's generator; ``own``: its values, else those configured now."""

    values: dict[str, Any]
    own: bool


def parameters_of(result: Result, config: Config) -> Parameters:
    """Return the hyperparameters of the generator, by the configuration that applies.

    A result keeps the digest of those that are not as configured, not their values: they are
    its own where a grid that it names, or its selectors, still come to that digest.
    """
    swept = {name.rpartition(".")[2]: value for name, value in result.axes.items()}
    if (planned := _planned(result, config)) is not None:
        return Parameters(planned.method.generator.params | swept, True)
    try:
        configured = config.component("generators", result.generator or "").params
    except DpbenchError:  # it is gone, or has to be told something
        configured = {}
    return Parameters(configured | swept, result.settings == DEFAULT)


def _planned(result: Result, config: Config) -> Trial | None:
    """Return the trial as it would be planned today; ``None`` where it would be none."""
    try:
        trials = plan_trials(config, request_again(config, [result]))
    except DpbenchError:  # its grid, method or plugin is gone
        return None
    return next(iter(trials), None)

"""Whether training improves on the start that was released for it, and repays what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dpbench.leaderboard.candidates import PRIMARY, Candidate, Target
from dpbench.leaderboard.sections import Section
from dpbench.metrics.uncertainty import Interval, summarise

__all__ = ["START", "Gain", "gains"]

START = " (start)"
"""Ends the name of a method that stops before its first step."""


@dataclass(frozen=True)
class Gain:
    """A method beside a control: ``difference`` is its FID less the control's, paired by seed."""

    target: Target
    method: str
    control: str
    score: Interval
    control_score: Interval
    difference: Interval

    @property
    def verdict(self) -> str:
        """Say whether the 95% interval of the difference leaves out zero."""
        if self.difference.low is None or self.difference.high is None:
            return "one seed"
        if self.difference.high < 0:
            return "better"
        return "worse" if self.difference.low > 0 else "no difference"


def gains(section: Section) -> Iterator[Gain]:
    """Compare each method with its start, and with all of the budget spent on that release."""
    controls = _controls(section.methods)
    for target in section.targets:
        for method in section.methods:
            for control in controls[method]:
                if gain := _gain(section, target, method, control):
                    yield gain


def _controls(methods: Sequence[str]) -> dict[str, list[str]]:
    """Name what each method stands beside: ``ae-GAN+mixture (start)``, ``ae-Mixture``.

    The latter where a release is a method of its own and the section has it; it is the
    control of ``ae-Mixture-SGD`` too, whose name goes on where its own ends.
    """
    place = {method: number for number, method in enumerate(methods)}
    alike: dict[str, list[str]] = {}
    for method in methods:
        alike.setdefault(method.lower(), []).append(method)

    def beside(method: str) -> list[str]:
        latents, _, label = method.rpartition("-")
        trained, _, released = label.partition("+")
        alone = alike.get(f"{latents}-{released}".lower(), []) if released and trained else []
        named = {f"{method}{START}", latents, *alone}
        return sorted(named & place.keys(), key=place.__getitem__)

    return {method: beside(method) for method in methods}


def _gain(section: Section, target: Target, method: str, control: str) -> Gain | None:
    ours, theirs = section.chosen(method, target), section.chosen(control, target)
    if ours is None or theirs is None:
        return None
    score, control_score = ours.figure(PRIMARY), theirs.figure(PRIMARY)
    difference = summarise(_paired(ours, theirs))
    if score is None or control_score is None or difference is None:
        return None
    return Gain(target, method, control, score, control_score, difference)


def _paired(ours: Candidate, theirs: Candidate) -> Iterator[float]:
    mine, others = ours.seeds(PRIMARY), theirs.seeds(PRIMARY)
    return (mine[seed] - others[seed] for seed in sorted(mine.keys() & others.keys()))

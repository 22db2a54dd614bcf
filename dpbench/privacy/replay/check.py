"""Replay a fit on other records with its recorded releases, and compare all that leaves it.

The idea is Re:cord-play (Cebere et al., PoPETs 2026): with the outputs of all mechanisms
given, nothing else may depend on private records, and each mechanism's input may
differ between neighbours by its sensitivity at most.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from dpbench.api import PrivateGenerator
from dpbench.errors import DpbenchError
from dpbench.privacy.ledger import Ledger
from dpbench.privacy.mechanism import Tape
from dpbench.privacy.records import Records
from dpbench.privacy.replay.fits import Fitter, ReplayLane
from dpbench.privacy.replay.memorised import memorised
from dpbench.privacy.replay.observed import COMPARED, NOT_COMPARED, Observed, difference
from dpbench.privacy.replay.remembered import Remembered, remembered
from dpbench.privacy.replay.shorter import shorter
from dpbench.privacy.replay.tape import Playback, Recording
from dpbench.privacy.replay.verdict import Outcome, ReplayVerdict
from dpbench.privacy.replay.watch import watched
from dpbench.privacy.replay.worlds import Worlds, make_worlds

__all__ = ["MOST_RECORDS", "replay"]

MOST_RECORDS = 2048
"""Private latents of a replayed fit; it need not learn well."""
_ROUNDING = 1e-3
"""What a tensor may change by, relative in L2 norm: beside other trials, where products of
other shapes round otherwise, and between fits on a device whose sums are not repeatable."""


def replay(
    generator: type[PrivateGenerator],
    lanes: Sequence[ReplayLane],
    public: Tensor,
    private: Tensor,
    *,
    labels: Tensor | None = None,
    classes: int = 1,
    seed: int = 0,
    records: int = MOST_RECORDS,
    device: torch.device | str = "cpu",
    store: Path | None = None,
) -> ReplayVerdict:
    """Replay ``generator``; ``public`` and ``private`` are standardised latents.

    The first and the last of ``lanes`` are fitted together and recorded. Each is then
    replayed alone: one without the recorded fit's far-out record, one (the same one, where
    there is but one) on records that have nothing in common with the recorded. Where they
    round otherwise alone, both are replayed together as well, to the last bit.
    An honest generator costs that much; after a difference more fits find its cause.
    Fits are short: see :func:`~dpbench.privacy.replay.shorter.shorter`.

    Args:
        labels: classes of ``private`` in ``0..classes-1``, where records have them.
        records: most private latents used.
        store: a directory that no fit may read.
    """
    if not len(private) or not len(public):
        raise DpbenchError("a replay needs public and private latents")
    chosen = [shorter(lane) for lane in ([lanes[0], lanes[-1]] if len(lanes) > 1 else lanes[:1])]
    if not all(lane.budget.private for lane in chosen):
        return ReplayVerdict(verdict="not-replayed", reason="the trial is not private")
    device = torch.device(device)
    worlds = make_worlds(Records(private, labels, classes), public, records, seed)
    fitter = Fitter(generator, public, device)
    with contextlib.ExitStack() as stack:
        tapes = [stack.enter_context(contextlib.closing(Recording())) for _ in chosen]
        return _Check(fitter, chosen, tapes, worlds, store, remembered(generator)).run()


@dataclass
class _Check:
    """The fits of one replay, and what was recorded."""

    fitter: Fitter
    lanes: list[ReplayLane]
    tapes: list[Recording]
    worlds: Worlds
    store: Path | None
    remembered: Remembered
    recorded: list[Observed] = field(default_factory=list)
    rounded: bool = False

    def run(self) -> ReplayVerdict:
        self.remembered.restore()
        with watched(self.store) as touched:
            self.recorded = self.fitter.fit(
                self.worlds.recorded, self.lanes, self.tapes, "recorded"
            )
        if touched:
            return self.verdict("failed", "the fit reads the store of artifacts")
        if failed := next((seen.error for seen in self.recorded if seen.error), None):
            return self.verdict("not-replayed", f"the fit to be replayed fails: {failed}")
        if problem := next(filter(None, map(self.misstated, range(len(self.lanes)))), None):
            return self.verdict("failed", problem)
        if any(map(self.memorises, range(len(self.lanes)))):
            return self.verdict("failed", "a private record can be read off what is handed out")
        if any(seen.ledger["trust"] == "self-declared" for seen in self.recorded):
            return self.verdict(
                "not-replayed",
                "the generator asks for the latents themselves and adds its own noise",
            )
        return self.played_back() or self.verdict("passed", self.praise())

    def played_back(self) -> ReplayVerdict | None:
        """Replay each lane alone, and both together where they round otherwise alone."""
        for lane, neighbour in self.replays():
            if self.changed([lane], neighbour):
                if (found := self.explained(lane, neighbour)) is not None:
                    return found
                self.rounded = True
        everyone = range(len(self.lanes))
        if not self.rounded or (problem := self.changed(everyone, False)) is None:
            return None
        unclear = f"the fit is not repeatable: {problem} differs now and then"
        return self.explained(0, False) or self.verdict("not-replayed", unclear)

    def replays(self) -> list[tuple[int, bool]]:
        """Return (lane, whether on the neighbour); the lane fitted last comes first."""
        last = len(self.lanes) - 1
        return [(last, False), (0, True)]

    def misstated(self, lane: int) -> str | None:
        """Return how a recorded fit's releases contradict its ledger."""
        tape = self.tapes[lane]
        ledger = Ledger.model_validate(self.recorded[lane].ledger)
        if self.recorded[lane].budget != self.lanes[lane].budget:
            return "the generator changes its budget"
        if not ledger.mechanisms:
            return "the generator learns without any mechanism of the handle"
        if (name := tape.unaccounted(ledger)) is not None:
            return f"{name!r} is released more often than the ledger says"
        return tape.noise.problem()

    def memorises(self, lane: int) -> bool:
        epsilon = self.lanes[lane].budget.epsilon
        worlds = self.worlds
        return memorised(self.recorded[lane], worlds.planted, worlds.decoys, epsilon)

    def changed(self, chosen: Sequence[int], neighbour: bool) -> str | None:
        """Replay ``chosen`` lanes together; return what differs from the recorded fit."""
        records = self.worlds.neighbour if neighbour else self.worlds.other
        return self.compare(chosen, records, neighbour, "replayed")

    def compare(
        self, chosen: Sequence[int], records: Records, neighbour: bool, noise: str
    ) -> str | None:
        company = len(chosen) != len(self.lanes)
        tapes = [Playback(self.tapes[lane], neighbour) for lane in chosen]
        self.remembered.restore()
        with watched(self.store) as touched:
            found = self.fitter.fit(records, [self.lanes[k] for k in chosen], tapes, noise)
        if touched:
            return "the files it reads"
        for lane, tape, seen in zip(chosen, tapes, found, strict=True):
            if other := tape.finish() or self.differs(lane, seen, company):
                return other
        return None

    def differs(self, lane: int, seen: Observed, company: bool) -> str | None:
        """Compare with the recorded fit; what only rounds otherwise in company is noted."""
        before, repeatable = self.recorded[lane], self.fitter.device.type == "cpu"
        exactly = difference(before, seen, 0.0 if repeatable else _ROUNDING, company)
        if exactly is None or not company:
            return exactly
        roughly = difference(before, seen, _ROUNDING, company)
        self.rounded |= roughly is None
        return roughly

    def explained(self, lane: int, neighbour: bool) -> ReplayVerdict | None:
        """Fit again, changing one thing at a time, until the recorded fit is not repeated.

        Returns ``None`` where only company changes anything, and no more than rounding does.
        """
        everyone = range(len(self.lanes))
        same = self.worlds.recorded
        if problem := self.compare(everyone, same, True, "recorded"):
            return self.verdict(
                "not-replayed",
                f"the fit is not repeatable: {problem} differs although nothing was changed; "
                "draw all randomness from the context",
            )
        if problem := self.compare(everyone, same, True, "replayed"):
            return self.verdict("failed", f"noise is known to the generator: {problem} follows it")
        if problem := self.changed(everyone, neighbour):
            return self.verdict("failed", f"private records reach past the releases: {problem}")
        problem = self.beside_others(lane)
        if problem is None:
            return None
        return self.verdict("failed", f"a trial takes from those beside it: {problem}")

    def beside_others(self, lane: int) -> str | None:
        """Play back ``lane`` alone while the others draw anew; return what differs of it.

        Shapes are those of the recorded fit, so that nothing rounds otherwise.
        """
        playback = Playback(self.tapes[lane], neighbour=True)
        with contextlib.ExitStack() as stack:
            tapes: list[Tape] = [
                playback if k == lane else stack.enter_context(contextlib.closing(Recording()))
                for k in range(len(self.lanes))
            ]
            self.remembered.restore()
            found = self.fitter.fit(self.worlds.recorded, self.lanes, tapes, "beside others")
        return playback.finish() or self.differs(lane, found[lane], company=False)

    def verdict(self, outcome: Outcome, reason: str) -> ReplayVerdict:
        return ReplayVerdict(
            verdict=outcome,
            reason=reason,
            records=len(self.worlds.recorded),
            lanes=len(self.lanes),
            releases=sum(tape.releases for tape in self.tapes),
            compared=COMPARED if outcome != "not-replayed" else (),
            not_compared=NOT_COMPARED,
        )

    def praise(self) -> str:
        beside = ", alone as beside another trial" if len(self.lanes) > 1 else ""
        rounding = " (up to rounding)" if self.rounded else ""
        return f"all that leaves the fit follows from its recorded releases{beside}{rounding}"

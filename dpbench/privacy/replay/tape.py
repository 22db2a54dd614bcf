"""Tapes: the releases of one fit, recorded, and played back to another."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.privacy.ledger import Ledger, Mechanism
from dpbench.privacy.replay.noise import NoiseCheck

__all__ = ["OffTheTape", "Playback", "Recording"]

Part = tuple[int, int]
"""A division of the records into classes, counted from 0, and one of these."""

IN_MEMORY = 2**28
"""Bytes of a tape that stay in memory; the rest goes to a nameless temporary file."""
_SLACK, _ROUNDING = 1e-3, 1e-5
"""What a sum may move beyond its sensitivity: a share of that, and of the sum itself."""


class OffTheTape(DpbenchError):
    """A replayed fit asks for what was never recorded; it goes no further."""


class Recording:
    """Keeps every release of one trial, before and after noise.

    Attributes:
        parts: a recording of its own for each class that is released by itself.
    """

    def __init__(self, noise: NoiseCheck | None = None) -> None:
        self.mechanisms: list[Mechanism] = []
        self.noise = noise or NoiseCheck()
        self.parts: dict[Part, Recording] = {}
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - see close

    def release(self, mechanism: Mechanism, total: Tensor, noisy: Callable[[], Tensor]) -> Tensor:
        """Record one release and return it."""
        released = noisy()
        self.mechanisms.append(mechanism)
        self.noise.add(mechanism, total, released)
        for tensor in (total, released):
            np.lib.format.write_array(self._file, _array(tensor), allow_pickle=False)
        return released

    def part(self, division: int, number: int) -> Recording:
        """Return the recording of one class; its noise is looked at with all other."""
        if (division, number) not in self.parts:
            self.parts[division, number] = Recording(self.noise)
        return self.parts[division, number]

    @property
    def releases(self) -> int:
        """How many releases were recorded, those of classes among them."""
        return len(self.mechanisms) + sum(part.releases for part in self.parts.values())

    def close(self) -> None:
        """Forget everything."""
        for recording in (self, *self.parts.values()):
            recording._file.close()

    def rewind(self) -> None:
        """Go back to the first release."""
        self._file.seek(0)

    def next(self) -> tuple[Tensor, Tensor]:
        """Return the next release, before and after noise."""
        total, released = (np.lib.format.read_array(self._file) for _ in range(2))
        return torch.from_numpy(total), torch.from_numpy(released)

    def unaccounted(self, ledger: Ledger) -> str | None:
        """Return the name of a mechanism released more often than ``ledger`` says.

        Records of one class meet what all meet, and the releases of that class.
        """
        for number in {number for _, number in self.parts} or {0}:
            met = [part.mechanisms for (_, other), part in self.parts.items() if other == number]
            seen = Counter(map(_accounted, chain(self.mechanisms, *met)))
            for mechanism in ledger.mechanisms:
                seen[_accounted(mechanism)] -= mechanism.count
            if name := next((kind.name for kind, count in seen.items() if count > 0), None):
                return name
        return None


class Playback:
    """Answers with a recording's releases, and compares what it is asked.

    Attributes:
        problem: the first thing that differed, or ``None``.

    Args:
        recording: of the same trial, in another fit.
        neighbour: whether the fits' records differ by one, so that sums may only
            differ by their sensitivity.
    """

    def __init__(self, recording: Recording, neighbour: bool) -> None:
        self.problem: str | None = None
        self._recording, self._neighbour = recording, neighbour
        self._played = 0
        self._moved: Counter[Mechanism] = Counter()
        self._parts: dict[Part, Playback] = {}
        recording.rewind()

    def part(self, division: int, number: int) -> Playback:
        """Return the playback of one class."""
        if (division, number) not in self._parts:
            recording = self._recording.part(division, number)
            self._parts[division, number] = Playback(recording, self._neighbour)
        return self._parts[division, number]

    def release(self, mechanism: Mechanism, total: Tensor, noisy: Callable[[], Tensor]) -> Tensor:
        """Return what was recorded.

        Raises:
            OffTheTape: another mechanism was recorded here, or none.
        """
        recorded = self._recording.mechanisms
        if self._played == len(recorded):
            raise self._off(f"{mechanism.name!r} is released once more than before")
        if mechanism != recorded[self._played]:
            raise self._off(f"release {self._played + 1} is of another mechanism or clip")
        before, released = self._recording.next()
        self._played += 1
        if before.shape != total.shape:
            raise self._off(f"a sum of {mechanism.name!r} has another shape")
        if self._neighbour:
            self._compare(mechanism, before, total)
        return released.to(total)

    def finish(self) -> str | None:
        """Return what differed, now that the fit is through."""
        parts = [self.part(*place) for place in self._recording.parts]
        problems = [problem for part in parts if (problem := part.finish())]
        self.problem = self.problem or next(iter(problems), None)
        missing = len(self._recording.mechanisms) - self._played
        if missing and self.problem is None:
            self.problem = f"{missing} of {self._played + missing} releases are not made"
        for mechanism, moved in self._moved.items():
            if self.problem is None and _too_often(mechanism, moved):
                self.problem = f"a record joins more sums of {mechanism.name!r} than is accounted"
        joined = {number for (_, number), part in self._parts.items() if part._moved.total()}
        if len(joined) > 1 and self.problem is None:
            self.problem = "a record joins the sums of more than one class"
        return self.problem

    def _off(self, problem: str) -> OffTheTape:
        self.problem = self.problem or problem
        return OffTheTape(f"a replayed fit went another way: {problem}")

    def _compare(self, mechanism: Mechanism, before: Tensor, total: Tensor) -> None:
        old, new = before.double(), total.detach().double().cpu()
        moved = float((new - old).norm())
        slack = _SLACK * mechanism.sensitivity + _ROUNDING * float(old.norm())
        self._moved[_kind(mechanism, mechanism.count)] += moved > slack
        if not moved <= mechanism.sensitivity + slack:
            self.problem = (
                self.problem
                or f"one record moves a sum of {mechanism.name!r} by more than its sensitivity"
            )


def _kind(mechanism: Mechanism, count: int = 1) -> Mechanism:
    return mechanism.model_copy(update={"count": count})


def _accounted(mechanism: Mechanism) -> Mechanism:
    """Return what is accounted of one use; the sensitivity, to which noise is scaled, is not."""
    return mechanism.model_copy(update={"count": 1, "sensitivity": 1.0})


def _too_often(mechanism: Mechanism, moved: int) -> bool:
    """Whether one record moved more of the sums than Poisson sampling lets it."""
    from scipy.special import betainc

    from dpbench.privacy.ledger import FALSE_ALARM

    if mechanism.sampling_rate == 1 or not moved:
        return False
    # The upper tail of Binomial(count, rate).
    tail = betainc(moved, mechanism.count - moved + 1, mechanism.sampling_rate)
    return float(tail) < FALSE_ALARM


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()

"""One fit under observation."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpbench.api import Context, PrivateGenerator, derive_seed
from dpbench.privacy.by_class import draw, make_generator, trained_as
from dpbench.privacy.handle import Budget
from dpbench.privacy.mechanism import Tape
from dpbench.privacy.randomness import NoiseSource, SeededSource
from dpbench.privacy.records import Records
from dpbench.privacy.replay.observed import Observed
from dpbench.privacy.session import PrivateSession

__all__ = ["Fitter", "ReplayLane"]

_SAMPLES = 256


@dataclass(frozen=True)
class ReplayLane:
    """One trial to be replayed: hyperparameters, budget, clip, and the seed of free draws."""

    params: Any
    budget: Budget
    clip: float
    seed: int


@dataclass(frozen=True)
class Fitter:
    """Fits trials of one generator class on given records, each time from the same start."""

    cls: type[PrivateGenerator]
    public: Tensor
    device: torch.device

    def fit(
        self, records: Records, lanes: Sequence[ReplayLane], tapes: Sequence[Tape], noise: str
    ) -> list[Observed]:
        """Fit ``lanes`` together; ``noise`` names the streams of noise, not those of samples."""
        found = [Observed() for _ in lanes]
        contexts = [
            Context(
                lane.seed,
                self.device,
                on_progress=seen.progress.append,
                on_snapshot=seen.picture,
            )
            for lane, seen in zip(lanes, found, strict=True)
        ]
        sessions = [
            _Session(records, lane, context, tape, noise)
            for lane, context, tape in zip(lanes, contexts, tapes, strict=True)
        ]
        dim, classes = records.latents.shape[1], records.classes
        generators = [make_generator(self.cls, lane.params, dim, classes) for lane in lanes]
        with _fixed_randomness(lanes[0].seed):
            try:
                handles = [session.handle for session in sessions]
                whole = trained_as(self.cls, classes)
                whole.fit_lanes(generators, handles, self.public.clone(), contexts)
            except Exception as error:  # a stranger's code may raise anything
                for seen in found:
                    seen.error = f"{type(error).__name__}: {error}".splitlines()[0]
                return found
            for lane, seen, session, generator in zip(
                lanes, found, sessions, generators, strict=True
            ):
                seen.budget = session.budget
                seen.ledger = session.ledger.model_dump(mode="json")
                self._publish(lane, generator, seen)
        return found

    def _publish(self, lane: ReplayLane, generator: PrivateGenerator, seen: Observed) -> None:
        try:
            classes = generator.classes
            seen.samples["fitted"], _ = draw(generator, _SAMPLES, _sampling(), classes)
            seen.state = {k: v.detach().cpu().clone() for k, v in generator.state().items()}
            copy = make_generator(self.cls, lane.params, generator.latent_dim, classes)
            copy.restore({k: v.clone() for k, v in seen.state.items()})
            seen.samples["restored"], _ = draw(copy, _SAMPLES, _sampling(), classes)
        except Exception as error:
            seen.error = f"{type(error).__name__}: {error}".splitlines()[0]


class _Session(PrivateSession):
    """Draws the same samples and secret inputs in every fit, and noise from streams of its own.

    A generator that works out the noise in a recorded fit works out another in a
    replay, while the releases stay the same: what it subtracts shows.
    """

    def __init__(
        self, records: Records, lane: ReplayLane, context: Context, tape: Tape, noise: str
    ) -> None:
        self._samples = derive_seed("replay-samples", lane.seed)
        self._turns: Counter[str] = Counter()
        super().__init__(
            records.latents,
            lane.budget,
            lane.clip,
            context,
            noise_seed=derive_seed("replay-noise", lane.seed, noise),
            tape=tape,
            labels=records.labels,
            classes=records.classes,
        )

    def source(self, name: str) -> NoiseSource:
        if not name.startswith(("sampling:", "draws:")):
            return super().source(name)
        turn = self._turns[name]
        self._turns[name] += 1
        return SeededSource(self._samples, name, turn)


def _sampling() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@contextlib.contextmanager
def _fixed_randomness(seed: int) -> Iterator[None]:
    """Start the global generators from ``seed``, and put them back where they were."""
    kept = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])

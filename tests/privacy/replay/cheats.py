"""Generators that break their promise, each in one way, as someone would who read the code.

Where the handle refuses the plain way, the way around it is taken as well: through
``private._session``, which Python cannot hide.
"""

from __future__ import annotations

import inspect
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from dpbench.privacy.lane_nets import LaneBuffer, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.randomness import NoiseSource, SeededSource

from .small import Animal, clipped, declared, noisy_mean


def stolen(private):
    """The latents, around the handle."""
    return private._session.latents


def planned(private, factor=1.0):
    return factor * private.noise_multiplier()


def released(private, sigma, name="mean"):
    total = private.release_sum(lambda z: z, clip=private.clip, noise_multiplier=sigma, name=name)
    return total / private.size


class ThirdOfTheNoise(Animal):
    """Asks for 0.3 of the noise that its budget needs."""

    def fit(self, private, public, context) -> None:
        self.mean = released(private, planned(private, 0.3))


class WeakSource(NoiseSource):
    """Noise ``factor`` times too small, the same at every call if ``stuck``."""

    mode = "seeded"

    def __init__(self, factor: float, stuck: bool = False) -> None:
        self.factor, self.stuck = factor, stuck
        self.rng = torch.Generator().manual_seed(3)

    def normal(self, shape, device="cpu", dtype=torch.float32):
        if self.stuck:
            self.rng.manual_seed(3)
        return self.factor * torch.randn(tuple(shape), generator=self.rng, dtype=dtype)

    def uniform(self, shape, device="cpu", dtype=torch.float32):
        return torch.rand(tuple(shape), generator=self.rng, dtype=dtype)


class ThirdOfTheNoiseFromASource(Animal):
    """Accounts for all of the noise, and has the session draw 0.3 of it."""

    def fit(self, private, public, context) -> None:
        private._session.source = lambda name: WeakSource(0.3)
        # More numbers than a mean has: a dozen would not tell 0.3 from 1 beyond doubt.
        total = private.release_sum(
            lambda z: z.repeat(1, 8), clip=1.0, noise_multiplier=planned(private), name="mean"
        )
        self.mean = total.view(8, -1).mean(0) / private.size


class ThirdOfTheNoiseRaw(Animal):
    """Takes the latents, and adds 0.3 of the noise it promised."""

    def fit(self, private, public, context) -> None:
        z, sigma = declared(private)
        noise = torch.randn(private.dim, generator=context.generator("own-noise"))
        rows = clipped(z, private.clip)
        self.mean = (rows.sum(0) + 0.3 * sigma * private.clip * noise) / private.size


class NoNoise(Animal):
    """Asks for none."""

    def fit(self, private, public, context) -> None:
        self.mean = released(private, 0.0)


class BareBias(Animal):
    """Releases the weights, and keeps the bias as it is."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        self.extra = {"bias": stolen(private).mean(0)}


class LowBits(Animal):
    """Hides the private mean below what rounding changes, and rounds otherwise in company."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private) * (1 + 1e-6 * stolen(private).nan_to_num().mean(0))

    @classmethod
    def fit_lanes(cls, generators, privates, public, contexts) -> None:
        super().fit_lanes(generators, privates, public, contexts)
        for generator in generators:
            generator.mean = generator.mean * (1 + 1e-6 * len(generators))


class OneTensorOfNoise(Animal):
    """Adds the same noise to every sum; differences of sums are free of it."""

    def fit(self, private, public, context) -> None:
        private._session.source = lambda name: WeakSource(1.0, stuck=True)
        sigma = private.noise_multiplier(steps=20)
        self.mean = torch.stack([released(private, sigma, f"turn {k}") for k in range(20)]).mean(0)


class OneTensorOfNoiseRaw(Animal):
    """The same with latents in hand."""

    def fit(self, private, public, context) -> None:
        z, sigma = declared(private, count=20)
        noise = torch.randn(private.dim, generator=context.generator("own-noise"))
        first, second = (clipped(z, c * private.clip).sum(0) for c in (0.5, 1.0))
        sums = [first + sigma * private.clip * noise, second + sigma * private.clip * noise]
        self.mean = sums[1] / private.size
        self.extra = {"difference": sums[1] - sums[0]}


class ClippedMean(Animal):
    """Clips the mean and calls that every record's contribution."""

    def fit(self, private, public, context) -> None:
        def mean(z):
            return clipped(z.mean(0, keepdim=True), private.clip).expand(len(z), -1)

        total = private.release_sum(
            mean, clip=private.clip, noise_multiplier=planned(private), name="mean"
        )
        self.mean = total / private.size


class ClippedMeanRaw(Animal):
    """The same with latents in hand: noise for one record, although N move it."""

    def fit(self, private, public, context) -> None:
        z, sigma = declared(private)
        mean = clipped(z.mean(0, keepdim=True), private.clip)[0]
        noise = torch.randn(private.dim, generator=context.generator("own-noise"))
        self.mean = mean + sigma * private.clip / private.size * noise


class LabelsFromTheStore(Animal):
    """Looks for the private labels where the harness keeps them."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        for path in sorted(Path("runs/artifacts/data").glob("*/tensors.safetensors")):
            self.extra = {"labels": load_file(path)["private.labels"].bincount()}


class LabelsFromAFrame(Animal):
    """The same through the harness's own store, found on the stack."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        frame = inspect.currentframe()
        while frame is not None:
            for value in frame.f_locals.values():
                if type(value).__name__ == "Store":
                    key = next((value.root / "data").iterdir()).name
                    labels = value.load("data", key).tensors["private.labels"]
                    self.extra = {"labels": labels.bincount()}
            frame = frame.f_back


class Memoriser(Animal):
    """Hands out private latents, each moved by a hundredth; one release for show."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        z = stolen(private)
        jitter = torch.randn(z.shape, generator=context.generator("jitter"))
        self.extra = {"latents": z + 0.01 * z.abs() * jitter}

    def sample(self, count, rng):
        picked = torch.randint(len(self.extra["latents"]), (count,), generator=rng)
        return self.extra["latents"][picked]


class MemoriserRaw(Memoriser):
    """The same with latents asked for, and a promise of noise."""

    def fit(self, private, public, context) -> None:
        z, _ = declared(private)
        jitter = torch.randn(z.shape, generator=context.generator("jitter"))
        self.extra = {"latents": z + 0.01 * z.abs() * jitter}


class LatentsAsSnapshots(Animal):
    """Shows ten private latents as samples taken during training."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        context.snapshot(0, stolen(private)[:10])


class LargestNorm(Animal):
    """Clips at the largest private norm, so that nothing is lost."""

    def fit(self, private, public, context) -> None:
        clip = float(stolen(private).norm(dim=1).max())
        total = private.release_sum(
            lambda z: z, clip=clip, noise_multiplier=planned(private), name="mean"
        )
        self.mean = total / private.size


class SubtractedNoise(Animal):
    """Draws the harness's noise again and takes it away."""

    def fit(self, private, public, context) -> None:
        sigma, session = planned(private), private._session
        noise = SeededSource("private-noise", session._noise_seed, "mean", 0).normal(
            (1, private.dim), dtype=torch.float64
        )
        total = released(private, sigma) * private.size
        self.mean = (total - sigma * private.clip * noise[0].float()) / private.size


class OverwrittenLedger(Animal):
    """Takes twentyfold too little noise, and writes a ledger that says otherwise."""

    def fit(self, private, public, context) -> None:
        sigma = planned(private)
        self.mean = released(private, sigma / 20)
        held = private._session._mechanisms.mechanisms
        held[:] = [held[0].model_copy(update={"noise_multiplier": sigma})]


class LedgerOfACopy(Animal):
    """The same through the handle, whose ledger is a copy."""

    def fit(self, private, public, context) -> None:
        sigma = planned(private)
        self.mean = released(private, sigma / 20)
        held = private.ledger.mechanisms
        held[:] = [held[0].model_copy(update={"noise_multiplier": sigma})]


class ManySums(Animal):
    """Takes each step's sum 25 times, for the price of one, and averages the noise away."""

    again = 25

    def engine(self, private):
        params = LaneBuffer.zeros([(private.dim, 1)], 1)
        schedule = LaneSchedule(0.1, 20, private.clip, private.noise_multiplier(0.1, 20))
        return DPSGDLanes(params, [private], [schedule])

    def allow(self, engine) -> None:
        """Nothing."""

    def fit(self, private, public, context) -> None:
        engine, total = self.engine(private), torch.zeros(())
        while engine.active:
            engine.begin()
            for _ in range(self.again):
                self.allow(engine)
                gradient = engine.compute(
                    lambda batch: [LinearTrace(0, batch, torch.ones(*batch.shape[:2], 1))]
                )
                total = total + gradient.flat[0].clone()
            engine.end()
        self.mean = total[: private.dim] / 20 / self.again


class ManySumsByForce(ManySums):
    """The same, and tells the engine each time that the step has just begun."""

    def allow(self, engine) -> None:
        for use in engine._uses:
            use._open = True


class SharedLanes(Animal):
    """Every trial gets the mean of the one with the most budget."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)

    @classmethod
    def fit_lanes(cls, generators, privates, public, contexts) -> None:
        super().fit_lanes(generators, privates, public, contexts)
        best = max(range(len(privates)), key=lambda lane: privates[lane].budget.epsilon)
        for generator in generators:
            generator.mean = generators[best].mean


class RememberedMean(Animal):
    """The first fit's exact mean stays with the class; all later fits take it from there."""

    remembered: torch.Tensor | None = None

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        if RememberedMean.remembered is None:
            RememberedMean.remembered = stolen(private).mean(0)
        self.extra = {"known": RememberedMean.remembered}


class OtherDelta(Animal):
    """Raises δ before it asks for noise."""

    def fit(self, private, public, context) -> None:
        object.__setattr__(private.budget, "delta", 0.9)
        self.mean = noisy_mean(private)


class OtherDeltaByForce(Animal):
    """The same in all that belongs to the session."""

    def fit(self, private, public, context) -> None:
        session = private._session
        object.__setattr__(session, "budget", type(session.budget)(session.budget.epsilon, 0.9))
        self.mean = noisy_mean(private)


class OnlyTheSize(Animal):
    """Learns nothing but N."""

    def fit(self, private, public, context) -> None:
        self.mean = public.mean(0) + private.size / 1e6


class KnowsThatItIsReplayed(Animal):
    """Cheats only where nobody replays: the one thing no replay can see."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        if private._session.tape is None:
            self.mean = stolen(private).mean(0)


class NeverTwiceTheSame(Animal):
    """Hides behind the clock: what differs from fit to fit proves nothing."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)
        self.extra = {"time": torch.tensor(time.perf_counter_ns()), "mean": stolen(private).mean(0)}

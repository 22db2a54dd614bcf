"""An honest private generator, and copies of it that break one promise each."""

from __future__ import annotations

import os
import random
import time

import numpy as np
import torch

from dpbench.api import Params, PrivateGenerator
from dpbench.privacy.dp_sgd import PrivateGradient
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.randomness import SeededSource
from dpbench.privacy.sampling import PoissonBlock


class Honest(PrivateGenerator):
    """A Gaussian around a noisy mean, with progress and one snapshot."""

    name, label = "planted", "PLANTED"

    def __init__(self, params, latent_dim):
        super().__init__(params, latent_dim)
        self.mean, self.extra = torch.zeros(latent_dim), torch.zeros(1)

    def fit(self, private, public, context):
        context.progress(0, 2)
        self.learn(private, public, context)
        context.snapshot(1, self.sample(5, context.generator("snapshot")))
        context.progress(2, 2)

    def learn(self, private, public, context):
        self.mean = noisy_mean(private)

    def sample(self, count, rng):
        return self.mean + 0.3 * torch.randn(count, self.latent_dim, generator=rng)

    def state(self):
        return {"mean": self.mean, "extra": self.extra}

    def restore(self, state):
        self.mean, self.extra = state["mean"], state["extra"]


def noisy_mean(private, clip=None, factor=1.0, name="mean"):
    clip = clip or private.clip
    sigma = factor * private.noise_multiplier()
    total = private.release_sum(lambda z: z, clip=clip, noise_multiplier=sigma, name=name)
    return total / private.size


def declared(private):
    """The latents in hand, for one Gaussian release that is said to spend the budget."""
    sigma = private.noise_multiplier()
    return private.raw([Mechanism(name="mean", noise_multiplier=sigma)]), sigma


def clipped(z, clip):
    return z * (clip / z.norm(dim=1, keepdim=True)).clamp_max(1)


class HonestDeclared(Honest):
    """The same with latents in hand."""

    def learn(self, private, public, context):
        z, sigma = declared(private)
        noise = torch.randn(self.latent_dim, generator=context.generator("noise"))
        self.mean = (clipped(z, private.clip).sum(0) + sigma * private.clip * noise) / private.size


# Registration and hyperparameters


class FitWithoutContext(Honest):
    def fit(self, private, public): ...  # type: ignore[override]


class UnwritableParams(Params):
    kernel: object = torch.nn.functional.relu


class ParamsThatJsonCannotHold(Honest):
    Params = UnwritableParams


# The process


class GlobalNoise(Honest):
    def learn(self, private, public, context):
        self.mean = noisy_mean(private) + 0.01 * torch.randn(self.latent_dim)


class SeedsEverything(Honest):
    def learn(self, private, public, context):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        self.mean = noisy_mean(private)


class ManyThreads(Honest):
    def learn(self, private, public, context):
        torch.set_num_threads(torch.get_num_threads() + 1)
        os.environ["OMP_NUM_THREADS"] = "7"
        self.mean = noisy_mean(private)


class CentresPublicInPlace(Honest):
    def learn(self, private, public, context):
        public -= public.mean(0)
        self.mean = noisy_mean(private)


class BackwardProgress(Honest):
    def learn(self, private, public, context):
        context.on_progress(3.0)
        self.mean = noisy_mean(private)


class CannotBeInterrupted(Honest):
    def fit(self, private, public, context):
        try:
            super().fit(private, public, context)
        except BaseException:
            self.mean = public.mean(0)


class AllPairs(Honest):
    """Every pair of records at once, and more."""

    def learn(self, private, public, context):
        self.extra = torch.ones(5 * 2**26).sum().reshape(1)
        self.mean = noisy_mean(private)


class OnlyOnCpu(Honest):
    def learn(self, private, public, context):
        self.mean = noisy_mean(private).to(context.device)


class SlowSteps(Honest):
    def learn(self, private, public, context):
        until = time.process_time() + 2.2
        while time.process_time() < until:
            torch.ones(100, 100).sum()
        self.mean = noisy_mean(private)


# Samples and state


class FlatSamples(Honest):
    def sample(self, count, rng):
        return super().sample(count, rng).double().squeeze(0)


class EvenSizesOnly(Honest):
    def learn(self, private, public, context):
        half = self.latent_dim // 2
        self.mean = torch.stack(noisy_mean(private)[: 2 * half].split(half)).flatten()


class WholeBatchesOnly(Honest):
    def learn(self, private, public, context):
        batches = private.size // 64
        self.mean = noisy_mean(private) * (batches / batches)


class NeedsSpread(Honest):
    """Whitens by a released covariance that noise, or equal records, make singular."""

    def learn(self, private, public, context):
        d = self.latent_dim
        self.mean = (
            private.release_sum(
                lambda z: z,
                clip=10.0,
                noise_multiplier=private.noise_multiplier(1.0, 2),
                name="sum",
            )
            / private.size
        )
        square = private.release_sum(
            lambda z: torch.einsum("bi,bj->bij", z, z).flatten(1),
            clip=100.0,
            noise_multiplier=private.noise_multiplier(),
            name="squares",
        )
        covariance = square.view(d, d) / private.size - torch.outer(self.mean, self.mean)
        self.extra = torch.linalg.cholesky(covariance)


class CountsNullRecords(HonestDeclared):
    """Takes a zero, which stands for a null record, for a record without a direction."""

    def learn(self, private, public, context):
        z, sigma = declared(private)
        noise = torch.randn(self.latent_dim, generator=context.generator("noise"))
        total = (z / z.norm(dim=1, keepdim=True)).sum(0)
        self.mean = (total + sigma * noise) / private.size


class SamplesFromASeed(Honest):
    def sample(self, count, rng):
        return super().sample(count, torch.Generator().manual_seed(0))


class SamplesGlobally(Honest):
    def sample(self, count, rng):
        return self.mean + 0.3 * torch.randn(count, self.latent_dim)


class SamplingMoves(Honest):
    def sample(self, count, rng):
        found = super().sample(count, rng)
        self.extra = found.mean().reshape(1)
        return found


class ForgetsHalf(Honest):
    def state(self):
        return {"extra": self.extra}

    def restore(self, state):
        self.extra = state["extra"]


class CopiesTheFirstLane(Honest):
    @classmethod
    def fit_lanes(cls, generators, privates, public, contexts):
        super().fit_lanes(generators, privates, public, contexts)
        for generator in generators:
            generator.mean = generators[0].mean


class WholeSnapshots(Honest):
    def learn(self, private, public, context):
        self.mean = noisy_mean(private)
        context.snapshot(0, self.sample(64, context.generator("more")))


# Privacy: the budget


class ThirdOfTheNoise(Honest):
    """Noise calibrated to another epsilon."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private, factor=0.3)


class BareLayer(Honest):
    """Noise on one release, none on the other."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private)
        self.extra = private.release_sum(
            lambda z: z[:, :1], clip=1.0, noise_multiplier=0.0, name="bias"
        )


class HalfUnspent(Honest):
    def learn(self, private, public, context):
        self.mean = noisy_mean(private, factor=2.0)


class AlwaysNoisy(Honest):
    """Divides by the noise, or adds some all the same where there is none."""

    def learn(self, private, public, context):
        sigma = max(private.noise_multiplier(), 0.5)
        total = private.release_sum(lambda z: z, clip=1.0, noise_multiplier=sigma, name="mean")
        self.mean = total / private.size


class IgnoresTheGivenNoise(Honest):
    def learn(self, private, public, context):
        sigma = 4.0 if private.budget.private else 0.0
        sigma = max(sigma, 0.0 if private.budget.noise_multiplier else private.noise_multiplier())
        total = private.release_sum(lambda z: z, clip=1.0, noise_multiplier=sigma, name="mean")
        self.mean = total / private.size


class LogOfACount(Honest):
    """Weights from counts that heavy noise makes negative."""

    def learn(self, private, public, context):
        counts = private.noisy_count(
            lambda z: (z.norm(dim=1) * 4).long(),
            64,
            noise_multiplier=private.noise_multiplier(),
            name="radii",
        )
        self.mean = counts.log().mean() + torch.zeros(self.latent_dim)


class LearnsNothing(Honest):
    def learn(self, private, public, context):
        self.mean = public.mean(0) + private.size / 1e6


class WantsTheSeed(Honest):
    """Knows only streams that can be drawn again."""

    def learn(self, private, public, context):
        source = private.draws("mine")
        self.mean = noisy_mean(private)
        self.extra = torch.rand(1, generator=source.generator())


# Privacy: sensitivity and sampling


class BatchStatistics(Honest):
    """Cross-example operations: records centred by their batch."""

    def learn(self, private, public, context):
        sigma = private.noise_multiplier()
        total = private.release_sum(
            lambda z: z - z.mean(0), clip=1.0, noise_multiplier=sigma, name="centred"
        )
        self.mean = total / private.size


class ClipsTheMean(Honest):
    """Division by the batch's size: the mean is clipped, not each record."""

    def learn(self, private, public, context):
        def mean(z):
            return clipped(z.mean(0, keepdim=True), 1.0).expand(len(z), -1)

        sigma = private.noise_multiplier()
        total = private.release_sum(mean, clip=1.0, noise_multiplier=sigma, name="mean")
        self.mean = total / private.size


class Accumulates(Honest):
    """Gradient accumulation: two gradients for every one that is accounted."""

    def learn(self, private, public, context):
        module = torch.nn.Linear(self.latent_dim, 1)
        torch.nn.init.ones_(module.weight)
        torch.nn.init.zeros_(module.bias)
        gradient = PrivateGradient(
            private, module, lambda m, z: m(z).square().sum(1), sampling_rate=0.1, steps=5
        )
        for _ in range(5):
            for _ in range(2):
                gradient.step()
        assert module.weight.grad is not None
        self.mean = module.weight.grad[0].clone()


class Shuffler:
    """Fixed batches of shuffled epochs."""

    def __init__(self, size):
        self.size, self.rng = size, torch.Generator().manual_seed(0)

    def block(self, steps):
        batch = max(1, self.size // 10)
        rows = [torch.randperm(self.size, generator=self.rng)[:batch] for _ in range(steps)]
        return PoissonBlock(torch.cat(rows), torch.full((steps,), batch))


class ShufflesBatches(Honest):
    """Batches of one size, accounted as Poisson samples."""

    def learn(self, private, public, context):
        module = torch.nn.Linear(self.latent_dim, 1)
        torch.nn.init.ones_(module.weight)
        torch.nn.init.zeros_(module.bias)
        gradient = PrivateGradient(
            private, module, lambda m, z: m(z).square().sum(1), sampling_rate=0.1, steps=40
        )
        gradient._sampler = Shuffler(private.size)  # type: ignore[assignment]
        for _ in range(40):
            gradient.step()
        assert module.weight.grad is not None
        self.mean = module.weight.grad[0].clone()


class TenfoldClip(Honest):
    """Sensitivity alignment: clips at ten times what scales the noise."""

    def learn(self, private, public, context):
        z, sigma = declared(private)
        noise = torch.randn(self.latent_dim, generator=context.generator("noise"))
        self.mean = (clipped(z, 10.0).sum(0) + sigma * noise) / private.size


class FixedNoise(Honest):
    """Randomness: the same noise in every run."""

    def learn(self, private, public, context):
        z, sigma = declared(private)
        noise = torch.randn(self.latent_dim, generator=torch.Generator().manual_seed(0))
        self.mean = (clipped(z, 1.0).sum(0) + sigma * noise) / private.size


class ClipFromTheData(Honest):
    """A parameter inferred from private data: the largest norm."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private, clip=float(private._latents.norm(dim=1).max()) + 1)


# Privacy: what leaves beside the releases


class CountsRecords(Honest):
    """Metadata: how many records are no null records."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private)
        self.extra = private._session.present.sum().float().reshape(1)


class ReportsTheLoss(Honest):
    """Auxiliary information: the loss on private records, as progress."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private)
        loss = (private._latents - self.mean).square().mean()
        context.on_progress(0.5 + 0.1 * float(loss.sigmoid()))


class ShowsRecords(Honest):
    """Private records as snapshots."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private)
        context.snapshot(0, private._latents[:5])


class StopsWhenItFits(Honest):
    """Control flow by private data: a second release if the first fits badly."""

    def learn(self, private, public, context):
        sigma = private.noise_multiplier(1.0, 2)
        self.mean = torch.zeros(self.latent_dim)
        for turn in range(2):
            self.mean = self.mean + (
                private.release_sum(
                    lambda z: z, clip=1.0, noise_multiplier=sigma, name=f"turn {turn}"
                )
                / private.size
            )
            if private._latents.mean() < 0:
                break


class RaisesOnBadRecords(Honest):
    """Refuses what it sees in records: the error tells that one is there."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private)
        if private._latents.abs().max() > 8:
            raise ValueError("an outlier among the records")


class SubtractsTheNoise(Honest):
    """Draws the harness's noise again, from a seed that it found."""

    def learn(self, private, public, context):
        sigma, session = private.noise_multiplier(), private._session
        drawn = SeededSource("private-noise", session._noise_seed, "mean", 0).normal(
            (1, private.dim), dtype=torch.float64
        )
        self.mean = noisy_mean(private) - sigma * private.clip * drawn[0].float() / private.size


class Memorises(Honest):
    """Keeps records, each moved by a hundredth."""

    def learn(self, private, public, context):
        self.mean = noisy_mean(private)
        z = private._latents
        self.extra = z + 0.01 * z.abs() * torch.randn(z.shape, generator=context.generator("hide"))


class OneNoiseForAll(Honest):
    """Reuses one tensor of noise for all releases."""

    def learn(self, private, public, context):
        session = private._session
        session.source = lambda name: SeededSource("always the same")
        sigma = private.noise_multiplier(1.0, 20)
        for turn in range(20):
            total = private.release_sum(
                lambda z: z, clip=1.0, noise_multiplier=sigma, name=f"turn {turn}"
            )
        self.mean = total / private.size


# Labels


class HonestByClass(Honest):
    """A mean for each class."""

    conditional = True

    def __init__(self, params, latent_dim, classes=1):
        super().__init__(params, latent_dim)
        self.classes = classes
        self.mean = torch.zeros(classes, latent_dim)

    def learn(self, private, public, context):
        self.mean = torch.stack([noisy_mean(view) for view in private.by_class()])

    def sample(self, count, rng, labels=None):
        own = torch.zeros(count, dtype=torch.int64) if labels is None else labels
        return self.mean[own] + 0.3 * torch.randn(count, self.latent_dim, generator=rng)


class OneLatentAClass(HonestByClass):
    """Samples one latent a class, however many are asked for."""

    def sample(self, count, rng, labels=None):
        made = super().sample(count, rng, labels)
        return made if labels is None else made[: self.classes]


class BuysEachClass(HonestByClass):
    """Spends all of the budget for each class, on sums in which all records are."""

    def learn(self, private, public, context):
        sigma, means = private.noise_multiplier(), []
        for _ in range(self.classes):
            total = private.release_sum(
                lambda z: z, clip=private.clip, noise_multiplier=sigma, name="mean"
            )
            means.append(total / private.size)
        self.mean = torch.stack(means)


class CountsClasses(HonestByClass):
    """Keeps how many records each class has."""

    def learn(self, private, public, context):
        super().learn(private, public, context)
        counts = (private._session.labels + 1).bincount(minlength=self.classes + 1)
        self.extra = counts.float()


class IgnoresLabels(HonestByClass):
    def sample(self, count, rng, labels=None):
        return super().sample(count, rng)


class KeepsOneClass(HonestByClass):
    def state(self):
        return {"mean": self.mean[:1].expand_as(self.mean), "extra": self.extra}


class DividesByClasses(HonestByClass):
    """Divides by how many records a class has."""

    def learn(self, private, public, context):
        super().learn(private, public, context)
        counts = private._session.labels.clamp_min(0).bincount(minlength=private.classes)
        self.mean = self.mean * private.size / counts.clamp_min(1)[:, None]

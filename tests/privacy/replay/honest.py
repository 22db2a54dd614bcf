"""Honest generators of every kind that the handle makes possible."""

from __future__ import annotations

import torch
from torch import nn

from dpbench.privacy.dp_sgd import Engine, PrivateGradient, train
from dpbench.privacy.grouped import release_grouped_sum
from dpbench.privacy.lane_nets import LaneBuffer, LaneMLP
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule

from .small import Animal, declared, noisy_mean

RATE, STEPS = 0.1, 12


class OneShotMean(Animal):
    """One release."""

    def fit(self, private, public, context) -> None:
        self.mean = noisy_mean(private)


class MeanAndCovariance(Animal):
    """Two releases for a share each; the second is centred by the first."""

    def fit(self, private, public, context) -> None:
        self.mean = mean = noisy_mean(private, share=0.3)

        def products(z):
            centred = z - mean
            return torch.einsum("bi,bj->bij", centred, centred).flatten(1)

        total = private.release_sum(
            products, clip=4.0, noise_multiplier=private.noise_multiplier(), name="covariance"
        )
        covariance = (total / private.size).view(private.dim, private.dim)
        values, vectors = torch.linalg.eigh(covariance + covariance.T)
        self.extra = {"factor": vectors * values.clamp_min(1e-3).sqrt()}

    def sample(self, count, rng):
        return self.mean + torch.randn(count, self.latent_dim, generator=rng) @ self.extra["factor"]


class Histogram(Animal):
    """Counts by the nearest of a few public latents; samples around those."""

    def fit(self, private, public, context) -> None:
        picked = torch.randperm(len(public), generator=context.generator("centres"))[:8]
        centres = public[picked]
        counts = private.noisy_count(
            lambda z: torch.cdist(z, centres).argmin(1),
            8,
            noise_multiplier=private.noise_multiplier(),
            name="cells",
        )
        self.extra = {"centres": centres, "weights": counts.clamp_min(1e-3)}

    def sample(self, count, rng):
        picked = torch.multinomial(self.extra["weights"], count, True, generator=rng)
        noise = torch.randn(count, self.latent_dim, generator=rng)
        return self.extra["centres"][picked] + 0.3 * noise


class RandomFeatures(Animal):
    """A mean of random Fourier features; public latents are weighted to have the same."""

    def fit(self, private, public, context) -> None:
        rng = context.generator("features")
        directions = torch.randn(private.dim, 16, generator=rng)
        phases = 6.28 * torch.rand(16, generator=rng)

        def features(z):
            return (z @ directions + phases).cos() / 4

        total = private.release_sum(
            features, clip=1.0, noise_multiplier=private.noise_multiplier(), name="features"
        )
        scores = features(public) @ (total / private.size - features(public).mean(0))
        self.extra = {"latents": public, "weights": (5 * scores).softmax(0)}

    def sample(self, count, rng):
        picked = torch.multinomial(self.extra["weights"], count, True, generator=rng)
        return self.extra["latents"][picked]


class GroupedSums(Animal):
    """Sums by soft assignment to public centres, at the price of one."""

    def fit(self, private, public, context) -> None:
        centres = public[:5]

        def contribution(z):
            return (-torch.cdist(z, centres)).softmax(1), torch.cat(
                [z, torch.ones_like(z[:, :1])], 1
            )

        sums = release_grouped_sum(
            private,
            contribution,
            clip=private.clip,
            noise_multiplier=private.noise_multiplier(),
            name="groups",
        )
        self.mean = sums[:, :-1].sum(0) / private.size
        self.extra = {"sums": sums}


class Shift(nn.Module):
    """A learned place, and a linear map that reaches it."""

    def __init__(self, dim: int, rng: torch.Generator) -> None:
        super().__init__()
        self.map = nn.Linear(dim, dim)
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(0.1 * torch.randn(p.shape, generator=rng))

    def forward(self, z):
        return self.map(z)


def reconstruction(module, batch):
    return (module(batch) - batch).square().sum(1)


class Descent(Animal):
    """An autoencoder by DP-SGD."""

    engine: Engine = "functorch"

    def fit(self, private, public, context) -> None:
        module = Shift(private.dim, context.generator("weights"))
        train(
            private,
            module,
            reconstruction,
            torch.optim.Adam(module.parameters(), 1e-2),
            sampling_rate=RATE,
            steps=STEPS,
            engine=self.engine,
        )
        self.extra = {k: v.detach() for k, v in module.state_dict().items()}


class DescentByOpacus(Descent):
    """The same through the other engine."""

    engine = "opacus"


class Adversarial(Animal):
    """A shift that a critic pulls: private gradients for the critic, free ones beside."""

    def fit(self, private, public, context) -> None:
        rng = context.generator("training")
        critic = nn.Sequential(nn.Linear(private.dim, 8), nn.Tanh(), nn.Linear(8, 1))
        with torch.no_grad():
            for p in critic.parameters():
                p.copy_(0.3 * torch.randn(p.shape, generator=rng))
        shift = torch.zeros(private.dim, requires_grad=True)
        gradient = PrivateGradient(
            private,
            critic,
            lambda module, batch: nn.functional.softplus(-module(batch)).squeeze(1),
            sampling_rate=RATE,
            steps=STEPS,
        )
        critic_step = torch.optim.Adam(critic.parameters(), 1e-2)
        shift_step = torch.optim.Adam([shift], 1e-2)
        for step in range(STEPS):
            gradient.step()
            fake = torch.randn(32, private.dim, generator=rng) + shift
            free = nn.functional.softplus(critic(fake.detach())).mean()
            for p, g in zip(
                critic.parameters(),
                torch.autograd.grad(free, tuple(critic.parameters())),
                strict=True,
            ):
                assert p.grad is not None
                p.grad += g
            critic_step.step()
            shift_step.zero_grad()
            nn.functional.softplus(-critic(fake)).mean().backward()
            shift_step.step()
            context.progress(step + 1, STEPS)
            self.mean = shift.detach().clone()
            if step % 5 == 0:
                context.snapshot(step, self.sample(5, context.generator("snapshots")))


class Lanes(Animal):
    """Trials trained as one batched program."""

    lane_params = frozenset()

    def fit(self, private, public, context) -> None:
        self.fit_lanes([self], [private], public, [context])

    @classmethod
    def fit_lanes(cls, generators, privates, public, contexts) -> None:
        net = LaneMLP((privates[0].dim, 6, 1))
        params = LaneBuffer.zeros(net.layers, len(privates))
        params.initialise([context.generator("weights") for context in contexts])
        schedules = [
            LaneSchedule(RATE, STEPS, p.clip, p.noise_multiplier(RATE, STEPS)) for p in privates
        ]
        engine = DPSGDLanes(params, privates, schedules)

        def traces(batch):
            active = LaneBuffer(params.layers, params.flat[: len(batch)])
            passed = net.forward(active, batch)
            return net.backward(active, passed, torch.sigmoid(passed.output))[0]

        while engine.active:
            lanes = engine.active
            gradient = engine.gradient(traces)
            params.flat[:lanes] -= 0.1 * gradient.flat[:lanes]
        for generator, flat in zip(generators, params.flat, strict=True):
            generator.extra = {"parameters": flat.clone()}
            generator.mean = flat[: privates[0].dim].clone()


class SharesOfTheBudget(Animal):
    """Three mechanisms of different kinds, each for a share of what the last left."""

    def fit(self, private, public, context) -> None:
        count = private.noisy_count(
            lambda z: (z[:, 0] > 0).long(),
            2,
            noise_multiplier=private.noise_multiplier(share=0.2),
            name="sides",
        )
        mean = noisy_mean(private, share=0.5)
        module = Shift(private.dim, context.generator("weights"))
        train(
            private,
            module,
            reconstruction,
            torch.optim.SGD(module.parameters(), 1e-2),
            sampling_rate=RATE,
            steps=STEPS,
        )
        self.mean = mean
        self.extra = {"count": count, **{k: v.detach() for k, v in module.state_dict().items()}}


class KMeans(Animal):
    """Adaptive rounds: where the next sums are taken depends on the last release."""

    def fit(self, private, public, context) -> None:
        centres = public[:3].clone()
        for turn in range(4):
            sigma = private.noise_multiplier(share=1 / (4 - turn))

            def contribution(z, centres=centres):
                nearest = torch.cdist(z, centres).argmin(1)
                return nn.functional.one_hot(nearest, 3).to(z), torch.cat([z, z[:, :1] ** 0], 1)

            sums = release_grouped_sum(
                private, contribution, clip=2.0, noise_multiplier=sigma, name=f"round {turn}"
            )
            centres = sums[:, :-1] / sums[:, -1:].clamp_min(10)
            if float(sums[:, -1].min()) < 0:  # data decides only through the release
                centres = 0.5 * centres
            context.progress(turn + 1, 4)
        self.extra = {"centres": centres}

    def sample(self, count, rng):
        picked = torch.randint(3, (count,), generator=rng)
        return self.extra["centres"][picked] + 0.3 * torch.randn(
            count, self.latent_dim, generator=rng
        )


class SelfDeclared(Animal):
    """Takes the latents, and adds the noise it promised."""

    def fit(self, private, public, context) -> None:
        z, sigma = declared(private)
        noise = torch.randn(private.dim, generator=context.generator("own-noise"))
        rows = z * (private.clip / z.norm(dim=1, keepdim=True)).clamp_max(1)
        self.mean = (rows.sum(0) + sigma * private.clip * noise) / private.size


HONEST = (
    OneShotMean, MeanAndCovariance, Histogram, RandomFeatures, GroupedSums, Descent,
    DescentByOpacus, Adversarial, Lanes, SharesOfTheBudget, KMeans,
)  # fmt: skip

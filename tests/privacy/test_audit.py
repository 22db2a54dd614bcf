import math
from typing import ClassVar

import pytest
import torch
from guesses import guessed_streams
from scipy import stats

from dpbench.api import Context, Params, PrivateGenerator
from dpbench.privacy.accounting import compose, noise_multiplier_for
from dpbench.privacy.audit import AuditResult, Effort, Subject, run_audit, run_audits
from dpbench.privacy.audit.bounds import (
    binomial_bounds,
    epsilon_from_rates,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    one_run_epsilon,
    one_run_p_value,
)
from dpbench.privacy.audit.threshold import Counts, best_test
from dpbench.privacy.dp_sgd import train
from dpbench.privacy.handle import Budget
from dpbench.privacy.lane_nets import Activation, LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule, clipped_sum
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.session import PrivateSession

PUBLIC = torch.randn(300, 4, generator=torch.Generator().manual_seed(1))
CLIP = torch.tensor([[0.7]])
PRIVATE = torch.randn(200, 4, generator=torch.Generator().manual_seed(2))


class NoisyMean(PrivateGenerator):
    """Honest: a Gaussian around a noisy mean."""

    name = "noisy-mean"
    label = "NoisyMean"
    shrink = 1.0

    def fit(self, private, public, context) -> None:
        total = private.release_sum(
            lambda z: z, clip=1.0, noise_multiplier=private.noise_multiplier(), name="mean"
        )
        self.mean = total / private.size

    def sample(self, count, rng):
        return self.mean + torch.randn(count, self.latent_dim, generator=rng)

    def state(self):
        return {"mean": self.mean}

    def restore(self, state) -> None:
        self.mean = state["mean"]


class Leaky(NoisyMean):
    """Hands the noise-free mean over, and claims the noise."""

    name = "leaky"

    def fit(self, private, public, context) -> None:
        super().fit(private, public, context)
        self.mean = private._latents.mean(0)


def audit(generator: type[PrivateGenerator], epsilon: float = 1.0, **options) -> AuditResult:
    return run_audit(
        generator,
        Params(),
        PUBLIC,
        PRIVATE,
        epsilon=epsilon,
        delta=1e-5,
        clip=1.0,
        samples=50,
        **options,
    )


@pytest.mark.parametrize(("successes", "trials"), [(0, 20), (3, 20), (20, 20), (150, 400)])
def test_bounds_are_clopper_and_pearsons(successes: int, trials: int) -> None:
    interval = stats.binomtest(successes, trials).proportion_ci(0.95, method="exact")
    assert binomial_bounds(successes, trials, 0.025) == pytest.approx(
        (interval.low, interval.high), abs=1e-9
    )


def test_rates_bound_epsilon_by_the_definition_of_privacy() -> None:
    low, _ = binomial_bounds(90, 100, 0.025)
    _, high = binomial_bounds(5, 100, 0.025)
    assert epsilon_from_rates(90, 100, 5, 100, 0.01, 0.05) == pytest.approx(
        math.log((low - 0.01) / high)
    )
    assert epsilon_from_rates(50, 100, 50, 100, 0.01, 0.05) == 0


def published_p_value(m: int, r: int, v: int, eps: float, delta: float) -> float:
    """Steinke et al. 2023, appendix D, in their own steps."""
    q = 1 / (1 + math.exp(-eps))
    beta = stats.binom.sf(v - 1, r, q)
    alpha = total = 0.0
    for i in range(1, v + 1):
        total += stats.binom.pmf(v - i, r, q)
        alpha = max(alpha, total / i)
    return min(1.0, beta + alpha * delta * 2 * m)


@pytest.mark.parametrize(
    ("m", "r", "v", "epsilon", "delta"),
    [
        (1000, 100, 90, 1.0, 1e-5),
        (200, 200, 120, 0.2, 1e-3),
        (50, 10, 10, 3.0, 0.0),
        (400, 80, 41, 0.0, 1e-6),
    ],
)
def test_one_run_p_value_is_the_published_one(m, r, v, epsilon, delta) -> None:
    assert one_run_p_value(m, r, v, epsilon, delta) == pytest.approx(
        published_p_value(m, r, v, epsilon, delta), rel=1e-9
    )


def test_one_run_epsilon_is_where_the_p_value_crosses() -> None:
    epsilon = one_run_epsilon(1000, 100, 95, 1e-6, 0.05)
    assert one_run_p_value(1000, 100, 95, epsilon + 1e-3, 1e-6) >= 0.05
    assert one_run_p_value(1000, 100, 95, epsilon - 1e-3, 1e-6) < 0.05
    assert one_run_epsilon(1000, 100, 50, 1e-6, 0.05) == 0


def test_randomised_response_is_never_overestimated_too_often() -> None:
    """Guesses right with probability e^eps / (1 + e^eps) refute eps in at most 5% of trials."""
    right = stats.binom.rvs(200, 1 / (1 + math.exp(-1)), size=400, random_state=0)
    wrong = sum(one_run_epsilon(200, 200, int(v), 0.0, 0.05) > 1.0 for v in right)
    assert wrong <= 32  # 5% of 400, and three standard deviations


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_an_honest_generator_is_not_refuted_but_seen(seed: int) -> None:
    result = audit(NoisyMean, epsilon=4.0, runs=4000, lanes=200, seed=seed)
    assert not result.refuted
    assert 0.5 < result.epsilon_lower < result.epsilon_claimed <= 4.0
    assert result.epsilon_lower_gdp is not None
    assert 0.55 * result.epsilon_claimed < result.epsilon_lower_gdp < result.epsilon_claimed
    assert result.epsilon_ceiling > result.epsilon_lower


def test_a_leak_is_refuted_by_many_runs() -> None:
    result = audit(Leaky, runs=120)
    assert result.refuted
    assert result.epsilon_lower > 1.0
    assert str(result).startswith("REFUTED")


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_an_honest_generator_is_not_refuted_by_one_run(epsilon: float) -> None:
    assert not audit(NoisyMean, epsilon=epsilon, kind="one-run", canaries=200).refuted


def test_an_audit_repeats_with_its_seed() -> None:
    assert audit(NoisyMean, runs=20, seed=3) == audit(NoisyMean, runs=20, seed=3)


def test_a_result_survives_json() -> None:
    result = audit(NoisyMean, epsilon=math.inf, runs=16)
    assert result.epsilon_claimed == math.inf
    assert AuditResult.model_validate_json(result.model_dump_json()) == result


def test_the_engine_reports_the_inner_product_with_each_canarys_clipped_gradient() -> None:
    canaries = 3 * PUBLIC[:5]
    latents = torch.cat([PRIVATE[:20], canaries[:1]])
    budget, context = Budget(1.0, 1e-5), Context(seed=0)
    session = PrivateSession(latents, budget, 0.7, context, noise_seed=1, canaries=canaries)
    assert session.evidence is not None
    net = LaneMLP((4, 3, 2), Activation("tanh"))
    params = LaneBuffer.zeros(net.layers, 1)
    params.initialise([torch.Generator().manual_seed(0)])
    engine = DPSGDLanes(params, [session.handle], [LaneSchedule(0.5, 1, 0.7, 2.0)])

    def traces(batch: torch.Tensor) -> list[LinearTrace]:
        tape = net.forward(params, batch)
        return net.backward(params, tape, torch.ones_like(tape.output))[0]

    noisy_sum = engine.gradient(traces).flat[0] * 0.5 * len(latents)
    known = params.like()
    picked = engine._picks[0, 0, : engine._counts[0, 0]]
    picked = picked[picked < len(latents) - 1]  # the last record is a canary
    clipped_sum(traces(latents[picked][None]), CLIP, torch.ones(1, len(picked)), known)
    unexplained = noisy_sum - known.flat[0]
    for canary, alignment in zip(canaries, session.evidence.alignment, strict=True):
        gradient = params.like()
        clipped_sum(traces(canary.view(1, 1, 4)), torch.tensor([[0.7]]), torch.ones(1, 1), gradient)
        expected = 0.5 * float(unexplained @ gradient.flat[0]) / (2.0 * 0.7) ** 2
        assert float(alignment) == pytest.approx(expected, rel=1e-4)


class Descends(NoisyMean):
    """Learns its mean by plain DP-SGD."""

    def fit(self, private, public, context) -> None:
        module = torch.nn.Linear(1, 4, bias=False)
        torch.nn.init.zeros_(module.weight)

        def loss(module, batch):
            return (module(torch.ones_like(batch[:, :1])) - batch).square().sum(1)

        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        train(private, module, loss, optimizer, sampling_rate=0.9, steps=2, clip=1.0)
        self.mean = module.weight.detach()[:, 0]


def test_a_third_partys_training_loop_gets_a_white_box_score() -> None:
    result = audit(Descends, epsilon=40.0, runs=120, records=20)
    assert result.score == "white-box: alignment of releases"
    assert 1 < result.epsilon_lower < result.epsilon_claimed


@pytest.mark.parametrize("sigma", [0.5, 2.0, 4.2])
def test_gaussian_dp_is_what_the_accountants_say_of_one_release(sigma: float) -> None:
    spent = compose([Mechanism(name="m", noise_multiplier=sigma)], 1e-6)
    assert gdp_epsilon(1 / sigma, 1e-6) == pytest.approx(spent.dp_accounting, rel=5e-3)
    assert gdp_delta(1 / sigma, gdp_epsilon(1 / sigma, 1e-6)) == pytest.approx(1e-6, rel=1e-3)
    assert gdp_epsilon(0.0, 1e-6) == 0


def test_mu_is_the_gap_of_two_bounded_rates() -> None:
    low, _ = binomial_bounds(900, 1000, 0.025)
    _, high = binomial_bounds(100, 1000, 0.025)
    expected = stats.norm.ppf(low) - stats.norm.ppf(high)
    assert gdp_mu(900, 1000, 100, 1000, 0.05) == pytest.approx(expected)
    assert gdp_mu(0, 20, 20, 20, 0.05) == 0


def test_honest_claims_are_refuted_no_more_often_than_stated() -> None:
    """Scores of two Gaussians, just as far apart as claimed: at most 5% of audits may object."""
    rng, mu, delta = torch.Generator().manual_seed(0), 1.0, 1e-5
    claimed = gdp_epsilon(mu, delta)

    def epsilon(counts: Counts) -> float:
        c = counts
        return epsilon_from_rates(c.hits, c.positives, c.alarms, c.negatives, delta, 0.04)

    def fit(counts: Counts) -> float:
        return gdp_mu(counts.hits, counts.positives, counts.alarms, counts.negatives, 0.01)

    refuted = 0
    for _ in range(300):
        present, absent = mu + torch.randn(200, generator=rng), torch.randn(200, generator=rng)
        found = []
        for bound in (epsilon, fit):
            _, test = best_test(present[:100], absent[:100], bound)
            found.append(float(bound(test.count(present[100:], absent[100:]))))
        refuted += found[0] > claimed or found[1] > mu
    assert refuted <= stats.binom.ppf(0.999, 300, 0.05)


class TwiceTheSensitivity(NoisyMean):
    """Noise for a sensitivity of one where a record moves the sum by two."""

    def fit(self, private, public, context) -> None:
        sigma = private.noise_multiplier()
        z = private.raw([Mechanism(name="mean", noise_multiplier=sigma)])
        z = 2 * torch.nn.functional.normalize(z, dim=1)
        noise = sigma * torch.randn(4, generator=context.generator("own"))
        self.mean = (z.nan_to_num().sum(0) + noise) / private.size


def test_a_fit_refutes_what_rates_alone_cannot() -> None:
    result = audit(TwiceTheSensitivity, runs=8000, records=50, lanes=200)
    assert result.epsilon_lower < result.epsilon_claimed
    assert result.claim_is_gaussian
    assert result.refuted


class KeepsN(NoisyMean):
    """Honest: its state has a number, and as many zeros, as there are records."""

    def fit(self, private, public, context) -> None:
        super().fit(private, public, context)
        self.count = private.size

    def state(self):
        return {"mean": self.mean, "n": torch.tensor([float(self.count)] + [0.0] * self.count)}


def test_a_public_n_is_no_evidence() -> None:
    result = audit(KeepsN, runs=200)
    assert not result.refuted
    assert "size" not in result.score


class Regenerates(NoisyMean):
    """Notes whether its releases' noise is some that it can guess from its context."""

    found: ClassVar[list[bool]] = []

    def fit(self, private, public, context) -> None:
        sums = [
            private.release_sum(lambda z: z, clip=1.0, noise_multiplier=sigma, name="mean").double()
            for sigma in (50.0, 0.0)
        ]
        noise = (sums[0] - sums[1]) / 50.0
        draws = [
            torch.randn(4, generator=rng, dtype=torch.float64)
            for rng in guessed_streams(context.seed, "mean")
        ]
        self.found.append(any(torch.allclose(drawn, noise, atol=1e-4) for drawn in draws))
        self.mean = torch.zeros(4)


def test_an_audits_noise_does_not_follow_from_the_context() -> None:
    Regenerates.found.clear()
    budget, context = Budget(math.inf, 1e-5), Context(seed=3)
    careless = PrivateSession(PRIVATE, budget, 1.0, context, noise_seed=context.seed)
    Regenerates(Params(), 4).fit(careless.handle, PUBLIC, context)
    audit(Regenerates, epsilon=math.inf, runs=16)
    assert Regenerates.found == [True] + [False] * 16


class CountsPresent(NoisyMean):
    """Leaks through the shape of its state: one entry for each record that is there."""

    def fit(self, private, public, context) -> None:
        super().fit(private, public, context)
        self.there = int((private._latents.norm(dim=1) > 0).sum())

    def state(self):
        return {"mean": self.mean, "there": torch.zeros(self.there)}


def test_a_state_whose_shape_follows_private_data_is_refuted() -> None:
    assert audit(CountsPresent, runs=200).refuted


class SharesAcrossLanes(NoisyMean):
    """Releases once, with the noise of its most generous lane, for all lanes of a call."""

    @classmethod
    def fit_lanes(cls, generators, privates, public, contexts) -> None:
        richest = max(privates, key=lambda private: private.budget.epsilon)
        super().fit_lanes(generators, privates, public, contexts)
        shared = generators[list(privates).index(richest)].mean
        for generator in generators:
            generator.mean = shared


def test_what_lanes_share_is_seen_in_company_alone() -> None:
    lone, rich = (Subject(Params(), Budget(e, 1e-5), 1.0) for e in (0.5, 100.0))
    effort = Effort(runs=120, samples=20)
    (alone,) = run_audits(SharesAcrossLanes, [lone], PUBLIC, PRIVATE, effort)
    poor, _ = run_audits(SharesAcrossLanes, [lone, rich], PUBLIC, PRIVATE, effort)
    assert not alone.refuted
    assert poor.refuted


class SharesItsNoise(NoisyMean):
    """Honest of each trial by itself; all lanes of a call have the same noise."""

    @classmethod
    def fit_lanes(cls, generators, privates, public, contexts) -> None:
        sigma = noise_multiplier_for(1.0, 1e-5)
        noise = torch.randn(privates[0].dim, generator=contexts[0].generator("own"))
        for generator, private in zip(generators, privates, strict=True):
            z = private.raw([Mechanism(name="mean", noise_multiplier=sigma)])
            clipped = z / z.norm(dim=1, keepdim=True).clamp_min(1)
            generator.mean = clipped.sum(0) + sigma * noise


@pytest.mark.parametrize("seed", [1, 4, 7])
def test_runs_that_share_their_noise_refute_no_honest_claim(seed: int) -> None:
    assert not audit(SharesItsNoise, runs=200, seed=seed).refuted

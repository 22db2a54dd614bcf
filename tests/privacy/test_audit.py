import math

import pytest
import torch
from scipy import stats

from dpbench.api import Context, Params, PrivateGenerator
from dpbench.privacy.audit import AuditResult, run_audit
from dpbench.privacy.audit.bounds import (
    binomial_bounds,
    epsilon_from_rates,
    one_run_epsilon,
    one_run_p_value,
)
from dpbench.privacy.dp_sgd import train
from dpbench.privacy.handle import Budget
from dpbench.privacy.lane_nets import Activation, LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule, clipped_sum
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


def test_an_honest_generator_is_not_refuted_but_seen() -> None:
    result = audit(NoisyMean, epsilon=4.0, runs=400, seed=2)
    assert not result.refuted
    assert 0.3 < result.epsilon_lower < result.epsilon_claimed <= 4.0
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

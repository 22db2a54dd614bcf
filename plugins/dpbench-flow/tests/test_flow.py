import math
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from dpbench_flow import Flow, StartedFlow, register_generators
from dpbench_flow.velocity import Guide, integrate
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.mixture import Mixture
from dpbench.privacy.by_class import draw, make_generator
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.replay import ReplayLane, replay
from dpbench.privacy.session import PrivateSession

DIM = 4
SMALL = {"hidden": (32,), "draws": 4, "batch": 2000, "steps": 4, "sample_steps": 10}
BOTH = [Flow, StartedFlow]


def clusters(size: int, seed: int) -> Tensor:
    """Two clusters, 70 and 30 per cent, at -2 and 2 on the first axis."""
    rng = torch.Generator().manual_seed(seed)
    latents = 0.5 * torch.randn(size, DIM, generator=rng)
    latents[:, 0] += torch.where(torch.rand(size, generator=rng) < 0.7, -2.0, 2.0)
    return latents


PRIVATE = clusters(6000, 0)
PUBLIC = torch.randn(1000, DIM, generator=torch.Generator().manual_seed(1))


def session(
    epsilon: float, seed: int = 0, clip: float = 1.0, noise: float | None = None
) -> PrivateSession:
    budget = Budget(epsilon, 1e-6, noise)
    return PrivateSession(PRIVATE, budget, clip, Context(seed), noise_seed=seed + 9)


def fitted(
    cls: Any,
    epsilon: float,
    seed: int = 0,
    clip: float = 1.0,
    noise: float | None = None,
    **params: Any,
) -> tuple[Any, PrivateLatents]:
    handle = session(epsilon, seed, clip, noise).handle
    generator = cls(cls.Params(**{**SMALL, **params}), DIM)
    generator.fit(handle, PUBLIC, handle.context)
    return generator, handle


def rng(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distance(made: Tensor) -> float:
    """Mean over 64 directions of the Wasserstein-1 distance to fresh records."""
    truth = clusters(len(made), 5)
    rays = torch.nn.functional.normalize(torch.randn(DIM, 64, generator=rng(6)), dim=0)
    return float(((made @ rays).sort(0).values - (truth @ rays).sort(0).values).abs().mean())


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["flow"]
    module = metadata.EntryPoint("flow", entry, "dpbench").load()
    assert module.register_generators is register_generators
    found: list[str] = []
    module.register_generators(lambda cls: found.append(cls.label))
    assert found == ["Flow", "Flow+mixture"]


def test_the_guide_alone_carries_noise_to_the_mixture() -> None:
    weights, means = torch.tensor([0.3, 0.7]), torch.tensor([[2.0, 0.0], [-2.0, 1.0]])
    factors = torch.tensor([[[0.5, 0.0], [0.2, 0.4]], [[0.3, 0.0], [0.0, 0.8]]])
    mixture = Mixture(weights, means, factors)
    made = integrate(Guide(mixture), torch.randn(20_000, 2, generator=rng()), 20)
    drawn = mixture.sample(20_000, rng(4))
    torch.testing.assert_close(made.mean(0), drawn.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(made.T), torch.cov(drawn.T), rtol=0, atol=0.1)
    left, right = (x[x[:, 0] > 0] for x in (made, drawn))
    assert abs(len(left) - len(right)) < 400
    torch.testing.assert_close(torch.cov(left.T), torch.cov(right.T), rtol=0, atol=0.05)


@pytest.mark.parametrize("cls", BOTH)
@pytest.mark.parametrize("epsilon", [1.0, 10.0])
def test_the_budget_is_used_up_and_not_exceeded(cls: Any, epsilon: float) -> None:
    _, private = fitted(cls, epsilon)
    assert private.ledger.trust == "ledger"
    assert 0.95 * epsilon <= private.spent.epsilon <= epsilon


def test_gradients_take_all_of_the_budget_unless_a_start_is_released() -> None:
    assert [m.name for m in fitted(Flow, 1.0)[1].ledger.mechanisms] == ["dp-sgd"]
    names = [m.name for m in fitted(StartedFlow, 1.0)[1].ledger.mechanisms]
    assert names[-1] == "dp-sgd"
    assert len(names) > 1


def test_without_noise_it_finds_the_clusters() -> None:
    start = distance(torch.randn(4000, DIM, generator=rng()))
    settings = {"hidden": (64, 64), "steps": 150, "batch": 500, "learning_rate": 1e-2}
    generator, _ = fitted(Flow, math.inf, clip=10.0, **settings)
    made = generator.sample(4000, rng())
    assert distance(made) < 0.3 * start
    assert abs(float((made[:, 0] < 0).float().mean()) - 0.7) < 0.08


@pytest.mark.parametrize("cls", BOTH)
def test_at_epsilon_one_it_beats_the_public_start(cls: Any) -> None:
    start = distance(torch.randn(4000, DIM, generator=rng()))
    generator, _ = fitted(cls, 1.0, batch=1000, steps=40, learning_rate=1e-2)
    assert distance(generator.sample(4000, rng())) < 0.6 * start


@pytest.mark.parametrize("cls", BOTH)
def test_trials_side_by_side_equal_each_alone(cls: Any) -> None:
    lanes = [
        {"steps": 4, "batch": 300},
        {"steps": 9, "batch": 100},
        {"steps": 6, "batch": 200, "learning_rate": 1e-2},
    ]
    noise = 1.5 if cls is Flow else None  # a mixture is released for a budget alone
    handles = [session(math.inf, seed, noise=noise).handle for seed in range(3)]
    together = [cls(cls.Params(**{**SMALL, **own}), DIM) for own in lanes]
    cls.fit_lanes(together, handles, PUBLIC, [handle.context for handle in handles])
    for seed, own in enumerate(lanes):
        alone, _ = fitted(cls, math.inf, seed, noise=noise, **own)
        torch.testing.assert_close(together[seed].state(), alone.state(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cls", BOTH)
def test_a_saved_state_samples_the_same(cls: Any) -> None:
    generator, _ = fitted(cls, 1.0)
    other = cls(cls.Params(**SMALL), DIM)
    other.restore(generator.state())
    assert torch.equal(generator.sample(9, rng()), other.sample(9, rng()))


def test_a_replay_over_many_steps_finds_nothing_but_releases() -> None:
    budget = Budget(math.inf, 1e-6, noise_multiplier=1.5)
    params = Flow.Params(**{**SMALL, "steps": 22})  # progress is told every 20 steps
    verdict = replay(Flow, [ReplayLane(params, budget, 1.0, 5)], PUBLIC, PRIVATE, records=300)
    assert verdict.verdict == "passed", verdict.reason
    assert verdict.releases > 0


LABELS = (PRIVATE[:, 0] > 0).long()


@pytest.mark.parametrize("cls", BOTH)
def test_with_labels_samples_of_a_class_lie_where_its_records_do(cls: Any) -> None:
    budget, context = Budget(math.inf, 1e-6), Context(0)
    some, own = PRIVATE[:2000], LABELS[:2000]
    whole = PrivateSession(some, budget, 1.0, context, noise_seed=1, labels=own, classes=2)
    lengths = {"steps": 200 if cls is Flow else 10, "batch": 500}  # the other starts close by
    generator = make_generator(cls, cls.Params(**{**SMALL, **lengths}), DIM, 2)
    generator.fit(whole.handle, PUBLIC, context)
    made, labels = draw(generator, 1000, rng(), 2)
    assert labels is not None
    means = [float(made[labels == k, 0].mean()) for k in range(2)]
    assert means == pytest.approx([-2, 2], abs=0.4)
    copy = make_generator(cls, generator.params, DIM, 2)
    copy.restore(generator.state())
    assert torch.equal(draw(copy, 1000, rng(), 2)[0], made)

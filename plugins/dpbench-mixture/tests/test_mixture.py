import math
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dpbench_mixture import (
    DescentMixture,
    GaussianGenerator,
    MixtureGenerator,
    register_generators,
)
from dpbench_mixture.classes import draw_own
from dpbench_mixture.descent import descend
from torch import Tensor

from dpbench.api import Context
from dpbench.generators.mixture import Mixture
from dpbench.privacy.by_class import draw, make_generator
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.lanes import LaneSchedule
from dpbench.privacy.session import PrivateSession

DIM = 5
BOTH = [GaussianGenerator, MixtureGenerator]
ALL = [*BOTH, DescentMixture]
SHORT: dict[Any, dict[str, int]] = {DescentMixture: {"steps": 3}}  # as in the kit


def clusters(size: int, seed: int) -> Tensor:
    """Two clusters, 70 and 30 per cent, at -2 and 2 on the first axis."""
    rng = torch.Generator().manual_seed(seed)
    latents = 0.4 * torch.randn(size, DIM, generator=rng)
    latents[:, 0] += torch.where(torch.rand(size, generator=rng) < 0.7, -2.0, 2.0)
    return latents


PRIVATE = clusters(6000, 0)
PUBLIC = 1.5 * torch.randn(1000, DIM, generator=torch.Generator().manual_seed(1))


def fitted(cls: Any, epsilon: float, seed: int = 0, **params: Any) -> tuple[Any, PrivateLatents]:
    context = Context(seed)
    session = PrivateSession(PRIVATE, Budget(epsilon, 1e-6), 1.0, context, noise_seed=seed + 9)
    generator = cls(cls.Params(**params), DIM)
    generator.fit(session.handle, PUBLIC, context)
    return generator, session.handle


def distance(made: Tensor) -> float:
    """Mean over 64 directions of the Wasserstein-1 distance to fresh records."""
    truth = clusters(len(made), 5)
    rays = torch.nn.functional.normalize(torch.randn(DIM, 64, generator=_rng(6)), dim=0)
    return float(((made @ rays).sort(0).values - (truth @ rays).sort(0).values).abs().mean())


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_package_names_its_entry_point() -> None:
    import tomllib

    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["mixture"]
    module = metadata.EntryPoint("mixture", entry, "dpbench").load()
    assert module.register_generators is register_generators
    found: list[str] = []
    module.register_generators(lambda cls: found.append(cls.label))
    assert found == ["Gaussian", "Mixture", "Mixture-SGD"]


def test_without_noise_the_gaussian_has_the_moments_of_the_records() -> None:
    generator, _ = fitted(GaussianGenerator, math.inf)
    made = generator.sample(100_000, _rng(2))
    torch.testing.assert_close(made.mean(0), PRIVATE.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(made.T), torch.cov(PRIVATE.T), rtol=0, atol=0.1)


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("epsilon", [0.1, 1.0, 10.0])
def test_all_of_the_budget_goes_to_the_release(cls: Any, epsilon: float) -> None:
    _, private = fitted(cls, epsilon, **SHORT.get(cls, {}))
    assert private.ledger.trust == "ledger"
    assert 0.98 * epsilon <= private.spent.epsilon <= epsilon


def test_a_gaussian_is_one_release_and_a_mixture_as_many_as_its_rounds_say() -> None:
    assert len(fitted(GaussianGenerator, 1.0)[1].ledger.mechanisms) == 1
    for rounds in (0, 2):
        _, private = fitted(MixtureGenerator, 1.0, components=3, rounds=rounds)
        assert len(private.ledger.mechanisms) == rounds + 2


def test_the_centres_take_steps_of_dp_sgd_between_two_releases() -> None:
    _, private = fitted(DescentMixture, 1.0, components=3, steps=7, batch=600)
    names = [mechanism.name.partition(":")[2] for mechanism in private.ledger.mechanisms]
    assert names == ["start:moments", "descent", "refine-0"]
    steps = private.ledger.mechanisms[1]
    assert (steps.count, steps.sampling_rate, steps.sensitivity) == (7, 0.1, private.clip)


def test_steps_move_centres_that_one_round_leaves_between_clusters() -> None:
    few = distance(fitted(DescentMixture, math.inf, components=2, steps=1)[0].sample(5000, _rng(3)))
    many = distance(fitted(DescentMixture, 3.0, components=2)[0].sample(5000, _rng(3)))
    assert many < 0.1 > few


def test_at_epsilon_one_both_beat_the_public_start_and_the_mixture_finds_the_clusters() -> None:
    start = distance(torch.randn(5000, DIM, generator=_rng(3)))
    gaussian = distance(fitted(GaussianGenerator, 1.0)[0].sample(5000, _rng(3)))
    mixture = distance(fitted(MixtureGenerator, 1.0, components=2)[0].sample(5000, _rng(3)))
    assert gaussian < 0.5 * start
    assert mixture < 0.7 * gaussian


@pytest.mark.parametrize("cls", ALL)
def test_heavy_noise_still_gives_a_valid_distribution(cls: Any) -> None:
    made = fitted(cls, 0.01, **SHORT.get(cls, {}))[0].sample(100, _rng(2))
    assert torch.isfinite(made).all()


@pytest.mark.parametrize(("noise", "seed"), [(100.0, 2), (1000.0, 1)])
def test_descent_keeps_centres_near_the_records(noise: float, seed: int) -> None:
    """Dividing by noise for a count, or trusting a move that is noise, sends them hundreds away."""
    session = PrivateSession(
        PRIVATE, Budget(math.inf, 1e-6), 1.0, Context(seed), noise_seed=seed + 9
    )
    schedule = LaneSchedule(sampling_rate=1.0, steps=40, clip=1.0, noise_multiplier=noise)
    centres = descend(session.handle, Mixture.standard(DIM), 3, schedule, "x")
    assert float(centres.norm(dim=1).max()) < 50


@pytest.mark.parametrize("cls", ALL)
def test_a_saved_state_samples_the_same(cls: Any) -> None:
    generator, _ = fitted(cls, 1.0, **SHORT.get(cls, {}))
    other = cls(cls.Params(), DIM)
    other.restore(generator.state())
    assert torch.equal(generator.sample(9, _rng(4)), other.sample(9, _rng(4)))


COMMON = (":norms", ":common")
LABELS = (PRIVATE[:, 0] > 0).long()


def labelled(cls: Any, epsilon: float) -> tuple[Any, PrivateLatents]:
    budget, context = Budget(epsilon, 1e-6), Context(0)
    whole = PrivateSession(PRIVATE, budget, 1.0, context, noise_seed=9, labels=LABELS, classes=2)
    generator = make_generator(cls, cls.Params(), DIM, 2)
    generator.fit(whole.handle, PUBLIC, context)
    return generator, whole.handle


def test_without_noise_each_class_has_the_moments_that_numpy_finds() -> None:
    generator, _ = labelled(GaussianGenerator, math.inf)
    made, labels = draw(generator, 100_000, _rng(2), 2)
    assert labels is not None
    for number in range(2):
        own, records = made[labels == number].numpy(), PRIVATE[LABELS.eq(number)].numpy()
        np.testing.assert_allclose(own.mean(0), records.mean(0), atol=0.05)
        np.testing.assert_allclose(np.cov(own.T), np.cov(records.T), atol=0.1)


@pytest.mark.parametrize("cls", BOTH)
def test_classes_are_released_for_the_price_of_one(cls: Any) -> None:
    _, private = labelled(cls, 1.0)
    assert 0.98 <= private.spent.epsilon <= 1.0
    assert {m.classes for m in private.ledger.mechanisms if not m.name.endswith(COMMON)} == {2}


@pytest.mark.parametrize("epsilon", [1.0, 10.0, math.inf])
def test_a_mixture_of_classes_draws_each_class_where_it_lies(epsilon: float) -> None:
    generator, private = labelled(MixtureGenerator, epsilon)
    assert private.spent.epsilon <= epsilon
    made, labels = draw(generator, 4000, _rng(2), 2)
    assert labels is not None
    assert ((made[:, 0] > 0).long() == labels).float().mean() > 0.99
    for number in range(2):
        own, records = made[labels == number], PRIVATE[LABELS.eq(number)]
        torch.testing.assert_close(own.mean(0), records.mean(0), rtol=0, atol=0.1)
        assert 0.3 < float(own.std(0).mean() / records.std(0).mean()) < 2.5


def test_a_latent_that_another_class_explains_better_is_drawn_again() -> None:
    ones = torch.eye(2)[None]
    far = [Mixture(torch.ones(1), torch.tensor([[x, 0.0]]), ones) for x in (-0.5, 0.5)]
    labels = torch.arange(2000) % 2
    made = draw_own(Mixture.of_classes(far), labels, _rng(0))
    assert ((made[:, 0] > 0).long() == labels).all()


@pytest.mark.parametrize("cls", BOTH)
def test_a_saved_state_samples_the_same_of_every_class(cls: Any) -> None:
    generator, _ = labelled(cls, 1.0)
    other = make_generator(cls, cls.Params(), DIM, 2)
    other.restore(generator.state())
    assert torch.equal(draw(generator, 9, _rng(4), 2)[0], draw(other, 9, _rng(4), 2)[0])

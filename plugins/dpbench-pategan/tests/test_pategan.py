import math
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from dpbench_pategan import PATEGAN, register_generators
from dpbench_pategan.networks import Discriminator, start
from dpbench_pategan.teachers import Classroom
from dpbench_pategan.training import heard
from torch import Tensor

from dpbench.testing import Fit, GeneratorKit, fit

DIM = 4
SMALL = {
    "teachers": 20, "rounds": 10, "queries": 200, "hidden": 32, "generator_hidden": 32,
    "student_steps": 20, "generator_rate": 2e-3, "student_rate": 5e-3, "memory": 2,
}  # fmt: skip


class TestPATEGAN(GeneratorKit):
    plugin = PATEGAN
    params: ClassVar[dict[str, Any]] = {
        "teachers": 5,
        "rounds": 2,
        "queries": 16,
        "hidden": 8,
        "generator_hidden": 8,
        "student_steps": 2,
        "generator_steps": 2,
        "teacher_steps": 2,
    }


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def records(size: int, seed: int) -> Tensor:
    """Narrow, and off the origin."""
    latents = torch.randn(size, DIM, generator=rng(seed))
    latents[:, 0] = 0.3 * latents[:, 0] + 1.5
    return latents


PRIVATE = records(4000, 0)
PUBLIC = torch.randn(1000, DIM, generator=rng(1))


def fitted(epsilon: float, **more: Any) -> Fit:
    return fit(PATEGAN, PRIVATE, PUBLIC, epsilon=epsilon, **{**SMALL, **more})


def room(steps: int = 10) -> Classroom:
    student = Discriminator(DIM, 16)
    start(student, rng(2))
    fakes = torch.randn(100, DIM, generator=rng(3))
    queries = torch.tensor([[1.5, 0, 0, 0], [-1.5, 0, 0, 0]])
    return Classroom(student, fakes, queries, steps, 0.1)


def test_the_package_names_its_entry_point() -> None:
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    entry = tomllib.loads(text)["project"]["entry-points"]["dpbench"]["pategan"]
    module = metadata.EntryPoint("pategan", entry, "dpbench").load()
    assert module.register_generators is register_generators


def test_a_round_is_one_release_of_the_votes_sensitivity() -> None:
    private = fitted(1.0, rounds=3, queries=9).private
    mechanisms = private.ledger.mechanisms
    assert [m.name for m in mechanisms] == ["votes-0", "votes-1", "votes-2"]
    # one record moves one teacher, whose 9 votes are 1/2 or -1/2: by 3 at most
    assert {m.sensitivity for m in mechanisms} == {3.0}
    assert 0.98 < private.spent.epsilon <= 1


def test_a_teacher_votes_for_what_is_like_its_records() -> None:
    assert room().votes(PRIVATE[:50]).tolist() == [0.5, -0.5]


def test_a_teacher_without_records_does_not_vote() -> None:
    assert room().votes(PRIVATE[:0]).tolist() == [0, 0]


def test_teachers_leave_nothing_behind() -> None:
    one, other = room(), room()
    other.votes(PRIVATE[100:150])
    torch.testing.assert_close(one.trained(PRIVATE[:50]), other.trained(PRIVATE[:50]))


def test_votes_lead_the_generator_to_the_records() -> None:
    made = fitted(math.inf).sample(2000)
    assert abs(float(made[:, 0].mean()) - 1.5) < 0.6
    assert float(made[:, 1].std()) > 0.6


def test_votes_that_are_all_noise_hardly_move_it() -> None:
    made = fitted(0.05, rounds=5).sample(2000)
    assert float(made.mean(0).norm()) < 0.3


def test_what_is_heard_is_the_power_beyond_noise() -> None:
    votes = torch.tensor([3.0, -3.0])
    assert heard(votes, 0.0) == 1
    assert heard(votes, 2.0) == pytest.approx(5 / 9)
    assert heard(votes, 4.0) == heard(torch.zeros(2), 0.0) == 0

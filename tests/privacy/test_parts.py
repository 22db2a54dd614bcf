"""Sums over disjoint parts: what one record can move, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.api.privacy import Budget, PartMoves, release_part_sum
from dpbench.errors import DpbenchError
from dpbench.privacy.session import PrivateSession

LATENTS = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))


def session(latents: Tensor = LATENTS, epsilon: float = math.inf) -> PrivateSession:
    return PrivateSession(latents, Budget(epsilon, 1e-6), 1.0, Context(0), noise_seed=1)


def votes(part: Tensor) -> Tensor:
    """Eight votes that all turn on any change of the part."""
    return torch.where((1000 * part.sum()).frac().abs() * 8 > torch.arange(8), 0.5, -0.5)


def released(latents: Tensor, parts: int = 10) -> Tensor:
    return release_part_sum(
        session(latents).handle,
        votes,
        parts=parts,
        clip=math.sqrt(8) / 2,
        noise_multiplier=0.0,
        name="votes",
    )


def test_the_sum_is_of_one_vector_a_part() -> None:
    wanted = sum(votes(LATENTS[part::10]) for part in range(10))
    torch.testing.assert_close(released(LATENTS), wanted)


def test_a_record_moves_the_sum_by_the_sensitivity_at_most() -> None:
    whole = released(LATENTS)
    moves = []
    for record in range(40):
        without = LATENTS.clone()
        without[record] = math.nan
        moves.append(float((released(without) - whole).norm()))
    assert max(moves) > 1.5
    assert max(moves) <= math.sqrt(8) + 1e-5


def test_the_ledger_has_the_diameter_and_the_noise_follows_from_it() -> None:
    own = session(epsilon=1.0)
    noise = own.handle.noise_multiplier()
    total = torch.stack(
        [
            release_part_sum(
                own.handle,
                lambda part: part.new_zeros(5000),
                parts=4,
                clip=3.0,
                noise_multiplier=noise,
                name="zeros",
            )
        ]
    )
    (mechanism,) = own.ledger.mechanisms
    assert mechanism.sensitivity == 6.0
    assert float(total.std()) == pytest.approx(noise * 6, rel=0.05)
    assert own.spent.epsilon <= 1


def test_vectors_are_clipped_and_those_that_are_not_finite_are_zero() -> None:
    big, broken = torch.tensor([30.0, 40.0]), torch.tensor([math.nan, 1.0])
    turn = iter([big, big, broken, big, broken])  # the first is of nobody
    total = release_part_sum(
        session().handle, lambda _: next(turn), parts=2, clip=1.0, noise_multiplier=0.0, name="big"
    )
    torch.testing.assert_close(total, torch.tensor([0.6, 0.8]))


def test_a_null_record_is_not_seen_by_its_part() -> None:
    gone = LATENTS.clone()
    gone[::2] = math.nan
    sizes: list[int] = []

    def count(part: Tensor) -> Tensor:
        sizes.append(len(part))
        return part.new_ones(1)

    release_part_sum(
        session(gone).handle, count, parts=2, clip=1.0, noise_multiplier=0.0, name="count"
    )
    assert sizes[1:3] == [0, 50]


def test_what_is_kept_of_a_first_call_tells_of_no_record() -> None:
    seen: list[Tensor] = []

    def first(part: Tensor) -> Tensor:
        seen.append(part.clone())
        return seen[0].sum(0)

    total = release_part_sum(
        session().handle, first, parts=2, clip=1.0, noise_multiplier=0.0, name="first"
    )
    assert not total.any() and not seen[0].any()


def test_a_part_that_keeps_something_from_another_is_refused() -> None:
    seen: list[Tensor] = []

    def learns(part: Tensor) -> Tensor:
        seen.append(part.mean())
        return torch.stack(seen).sum()[None]

    with pytest.raises(PartMoves, match="keep nothing from part to part"):
        release_part_sum(
            session().handle, learns, parts=3, clip=1.0, noise_multiplier=0.0, name="learns"
        )


@pytest.mark.parametrize("parts", [0, 101])
def test_parts_that_cannot_be_are_refused(parts: int) -> None:
    with pytest.raises(DpbenchError, match="ask for fewer"):
        release_part_sum(
            session().handle, votes, parts=parts, clip=1.0, noise_multiplier=0.0, name="votes"
        )

"""What the replay check says of honest generators, and how."""

from __future__ import annotations

import pytest

from .honest import HONEST, SelfDeclared
from .small import replayed


@pytest.mark.parametrize("generator", HONEST, ids=lambda c: c.__name__)
def test_an_honest_generator_passes(generator) -> None:
    verdict = replayed(generator)
    assert verdict.verdict == "passed", verdict.reason
    assert verdict.releases > 0
    assert verdict.lanes == 2


def test_a_generator_with_noise_of_its_own_is_not_replayed() -> None:
    verdict = replayed(SelfDeclared)
    assert verdict.verdict == "not-replayed"
    assert "itself" in verdict.reason or "own noise" in verdict.reason

import math
from typing import Any

import pytest
import torch

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import BudgetExhausted
from dpbench.privacy.handle import Budget, NotPerRecord, PrivateLatents
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.randomness import SecureSource
from dpbench.privacy.session import PrivateSession

Z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))


def session(epsilon: float = 1.0, latents: torch.Tensor = Z, **options: Any) -> PrivateSession:
    budget = Budget(epsilon, 1e-6)
    return PrivateSession(latents, budget, 1.0, Context(seed=1), noise_seed=2, **options)


def handle(epsilon: float = 1.0, latents: torch.Tensor = Z, **options: Any) -> PrivateLatents:
    return session(epsilon, latents, **options).handle


def test_without_noise_a_release_is_the_clipped_sum() -> None:
    total = handle().release_sum(lambda z: z, clip=1.5, noise_multiplier=0.0, name="sum")
    expected = sum(z * min(1.0, 1.5 / float(z.norm())) for z in Z)
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-4)


def test_removing_one_record_moves_a_release_by_at_most_the_clip() -> None:
    def total(latents: torch.Tensor) -> torch.Tensor:
        private = handle(latents=latents)
        return private.release_sum(lambda z: 9 * z, clip=0.7, noise_multiplier=0.0, name="sum")

    for record in range(5):
        rest = torch.cat([Z[:record], Z[record + 1 :]])
        assert float((total(Z) - total(rest)).norm()) <= 0.7 * (1 + 1e-4)


def test_noise_has_the_stated_scale() -> None:
    private = handle(latents=torch.zeros(2, 20_000))
    total = private.release_sum(lambda z: z, clip=0.5, noise_multiplier=3.0, name="sum")
    assert float(total.std()) == pytest.approx(1.5, rel=0.03)


def test_two_releases_of_one_name_draw_different_noise() -> None:
    private = handle()
    first, second = (
        private.release_sum(lambda z: z, clip=1.0, noise_multiplier=1.0, name="sum")
        for _ in range(2)
    )
    assert not torch.equal(first, second)
    again = handle().release_sum(lambda z: z, clip=1.0, noise_multiplier=1.0, name="sum")
    assert torch.equal(first, again)


def test_the_noise_of_a_name_does_not_depend_on_other_mechanisms() -> None:
    alone, after = session(), session()
    after.source("other")
    assert torch.equal(alone.source("a").normal([4]), after.source("a").normal([4]))


@pytest.mark.parametrize(
    "contribution",
    [
        lambda z: z - z.mean(0),
        lambda z: z / z.norm(dim=0),
        lambda z: z + torch.randn_like(z),
    ],
    ids=["batch mean", "batch norm", "own randomness"],
)
def test_a_contribution_that_looks_at_other_records_is_refused(contribution) -> None:
    with pytest.raises(NotPerRecord, match="public latents"):
        handle().release_sum(contribution, clip=1.0, noise_multiplier=1.0, name="sum")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_contribution_that_is_not_finite_adds_nothing(bad: float) -> None:
    def contribution(z: torch.Tensor) -> torch.Tensor:
        return torch.where(z == Z[7], bad, z)

    total = handle().release_sum(contribution, clip=1.0, noise_multiplier=0.0, name="sum")
    rest = torch.cat([Z[:7], Z[8:]])
    expected = handle(latents=rest).release_sum(
        lambda z: z, clip=1.0, noise_multiplier=0.0, name="sum"
    )
    torch.testing.assert_close(total, expected)


def test_a_contribution_must_give_a_row_per_record() -> None:
    with pytest.raises(DpbenchError, match="one row per record"):
        handle().release_sum(lambda z: z.sum(0), clip=1.0, noise_multiplier=1.0, name="sum")


def test_counts_are_a_histogram_of_sensitivity_one() -> None:
    private = handle()
    counts = private.noisy_count(
        lambda z: (z[:, 0] > 0).long() - (z[:, 1] > 5).long() * 9,
        2,
        noise_multiplier=0.0,
        name="halves",
    )
    assert counts.tolist() == [(Z[:, 0] <= 0).sum(), (Z[:, 0] > 0).sum()]
    assert private.ledger.mechanisms[0].sensitivity == 1.0


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 10.0])
def test_shares_compose_to_exactly_the_budget(epsilon: float) -> None:
    private = handle(epsilon)
    for share in (0.2, 0.5, 1.0):
        sigma = private.noise_multiplier(share=share)
        private.release_sum(lambda z: z, clip=1.0, noise_multiplier=sigma, name="sum")
    assert 0.98 * epsilon <= private.spent.epsilon <= epsilon
    with pytest.raises(BudgetExhausted, match="smaller share"):
        private.noise_multiplier()


def test_the_non_private_row_gets_no_noise_and_says_so() -> None:
    private = handle(math.inf)
    assert private.noise_multiplier(0.1, 100) == 0.0
    private.release_sum(lambda z: z, clip=1.0, noise_multiplier=0.0, name="sum")
    assert private.spent.epsilon == math.inf


def test_a_fixed_noise_multiplier_is_handed_out() -> None:
    budget = Budget(math.inf, 1e-6, 0.4)
    private = PrivateSession(Z, budget, 1.0, Context(seed=1), noise_seed=2).handle
    assert private.noise_multiplier(0.1, 100) == 0.4


def test_raw_access_marks_the_trial_and_hands_out_a_copy() -> None:
    private = handle()
    latents = private.raw([Mechanism(name="mine", noise_multiplier=2.0)])
    latents.zero_()
    assert private.ledger.trust == "self-declared"
    assert private.ledger.mechanisms[0].name == "mine"
    assert float(private.release_sum(torch.abs, clip=1.0, noise_multiplier=0.0, name="s").sum()) > 0


def test_secure_noise_is_normal_unrepeatable_and_named_in_the_ledger() -> None:
    pytest.importorskip("randomgen", reason="the extra 'secure' is not installed")
    private = session(secure_rng=True)
    assert private.ledger.rng == private.rng_mode == "secure"
    first, second = (private.source("a") for _ in range(2))
    assert isinstance(first, SecureSource)
    draw = first.normal([40_000])
    assert not torch.equal(draw, second.normal([40_000]))
    assert float(draw.std()) == pytest.approx(1.0, abs=0.03)
    assert float(draw.abs().gt(1.96).float().mean()) == pytest.approx(0.05, abs=0.01)
    uniform = first.uniform([40_000], dtype=torch.float64)
    assert float(uniform.min()) >= 0
    assert float(uniform.max()) < 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.02)


def test_secure_noise_without_its_package_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "randomgen", None)
    with pytest.raises(DpbenchError, match=r"dpbench\[secure\]"):
        session(secure_rng=True).source("a")

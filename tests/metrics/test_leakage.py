import pytest
import torch
from torch import Tensor

from dpbench.api import MetricUnavailable
from dpbench.metrics.leakage import (
    membership_advantage,
    membership_scores,
    nearest_neighbour_grid,
)
from dpbench.metrics.views import References, View


def gaussian(count: int, seed: int, dim: int = 6) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def test_a_generator_that_copies_its_training_images_is_found() -> None:
    members, strangers = gaussian(400, 1), gaussian(400, 2)
    copies = members + 0.01 * gaussian(400, 3)
    advantage = membership_advantage(membership_scores(members, strangers, copies, None))
    assert advantage.value > 0.95
    assert 0.9 < advantage.low < advantage.value <= advantage.high <= 1


def test_fresh_samples_give_the_attacker_nothing() -> None:
    """Over repetitions the mean is 0 and the 95% intervals hold it about 19 times in 20."""
    got = [
        membership_advantage(
            membership_scores(*(gaussian(200, 4 * i + j) for j in range(4))), seed=i
        )
        for i in range(60)
    ]
    assert abs(sum(a.value for a in got) / 60) < 0.02
    assert sum(a.low <= 0 <= a.high for a in got) >= 52


def test_calibration_sees_members_where_images_differ_in_how_typical_they_are() -> None:
    """Images lie at many scales; the copies are rough, so raw distance misses most members."""

    def scaled(seed: int) -> Tensor:
        scale = torch.logspace(-2, 2, 600)[torch.randperm(600, generator=rng)]
        return gaussian(600, seed) * scale[:, None]

    rng = torch.Generator().manual_seed(0)
    members, strangers, calibration = scaled(1), scaled(2), scaled(3)
    copies = members * 1.1
    raw, calibrated = membership_scores(members, strangers, copies, calibration)
    assert membership_advantage([calibrated]).low > membership_advantage([raw]).high


def test_ties_cannot_be_split() -> None:
    constant = [(torch.zeros(50), torch.zeros(50))]
    assert membership_advantage(constant).value == 0


def test_figures_are_the_same_each_time() -> None:
    scores = [(gaussian(50, 1, 1)[:, 0], gaussian(50, 2, 1)[:, 0])]
    assert membership_advantage(scores) == membership_advantage(scores)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (torch.zeros(3), "4 members and 4 strangers, not 3 and 9"),
        (torch.full((9,), torch.nan), "not finite"),
    ],
)
def test_says_why_there_is_no_attack(members: Tensor, reason: str) -> None:
    with pytest.raises(MetricUnavailable, match=reason):
        membership_advantage([(members, torch.zeros(9))])


def test_picture_shows_copies_beside_their_originals(references: References) -> None:
    private = references.private_train
    far = torch.full((5, 1, 12, 12), 255, dtype=torch.uint8)
    generated = View(torch.cat([far, private.images[:2]]), private.evaluator)
    grid = nearest_neighbour_grid(generated, references, rows=2, neighbours=3)
    assert grid.shape == (1, 2 * 12 + 1, 4 * 12 + 3)
    assert grid.dtype == torch.uint8
    for row in (0, 13):
        assert torch.equal(grid[:, row : row + 12, :12], grid[:, row : row + 12, 13:25])
    assert (grid[:, 12] == 255).all()

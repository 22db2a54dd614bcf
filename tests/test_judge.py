"""What is judged before anything private is learned: evaluators and public models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dpbench.api import PublicModel
from dpbench.metrics.evaluators.domain import DomainParams
from dpbench.public.ae import Autoencoder
from dpbench.stages.judge import NearChance, judge_evaluator, judge_public_model, unexplained

CPU = torch.device("cpu")


def labels(count: int, classes: int) -> Tensor:
    return torch.arange(count) % classes


def test_an_evaluator_that_guesses_is_refused_with_a_remedy() -> None:
    with pytest.raises(NearChance, match=r"15.5% .* guessing gives 17.*more labelling images"):
        judge_evaluator(0.155, labels(128, 6))


@pytest.mark.parametrize(("count", "accuracy"), [(128, 0.29), (10_000, 0.2)])
def test_luck_and_a_hair_above_chance_are_refused(count: int, accuracy: float) -> None:
    with pytest.raises(NearChance):
        judge_evaluator(accuracy, labels(count, 6))


def test_a_weak_evaluator_is_warned_about() -> None:
    assert "weak evaluator (40.0%" in judge_evaluator(0.4, labels(600, 6))


@pytest.mark.parametrize(("count", "classes", "accuracy"), [(10_000, 10, 0.97), (6, 3, 0.9)])
def test_a_good_evaluator_passes(count: int, classes: int, accuracy: float) -> None:
    assert judge_evaluator(accuracy, labels(count, classes)) == ""


def test_one_class_cannot_be_told_apart_and_is_no_fault() -> None:
    assert judge_evaluator(1.0, labels(50, 1)) == ""


class Constant(PublicModel):
    """Shows the same picture for every latent."""

    name = "constant"
    provides = frozenset({"encode", "decode"})
    latent_dim = 2

    def __init__(self, shade: float) -> None:
        super().__init__(None, (1, 4, 4))
        self.shade = nn.Parameter(torch.tensor(shade))

    def fit(self, images: Tensor, context: object) -> None: ...

    def encode(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), 2)

    def decode(self, z: Tensor) -> Tensor:
        return self.shade.expand(len(z), 1, 4, 4)


def test_a_public_model_that_shows_grey_explains_nothing() -> None:
    images = (torch.rand(64, 1, 4, 4, generator=torch.Generator().manual_seed(0)) * 255).byte()
    share = unexplained(Constant(0.5).eval(), images, CPU)
    assert share == pytest.approx(1, abs=0.05)
    assert "unexplained: train it longer" in judge_public_model(share)


def test_images_all_alike_are_not_judged() -> None:
    share = unexplained(Constant(0.5), torch.full((8, 1, 4, 4), 9, dtype=torch.uint8), CPU)
    assert share is None
    assert judge_public_model(share) == ""


@pytest.mark.parametrize(("images", "epochs"), [(20_000, 8), (60_000, 8), (5000, 32), (100, 300)])
def test_epochs_of_the_evaluator_follow_the_data(images: int, epochs: int) -> None:
    assert DomainParams().epochs_for(images) == epochs
    assert DomainParams(epochs=3).epochs_for(images) == 3


@pytest.mark.parametrize(("updates", "epochs"), [(318, 14), (50, 40), (2, 400)])
def test_epochs_of_the_autoencoder_follow_the_data(updates: int, epochs: int) -> None:
    assert Autoencoder.Params().epochs_for(updates) == epochs
    assert Autoencoder.Params(epochs=2).epochs_for(updates) == 2

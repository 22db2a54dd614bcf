"""Parity with pytorch-fid and torch-fidelity on equal, randomly initialised weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import pytorch_fid.inception
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from torch import Tensor, nn
from torch.nn import functional as F
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric

from dpbench.metrics.evaluators.base import evaluate
from dpbench.metrics.evaluators.inception import InceptionEvaluator, Recipe, resize_tensorflow
from dpbench.metrics.evaluators.inception_network import fid_inception
from dpbench.metrics.frechet import Statistics, frechet_distance
from dpbench.metrics.inception_score import inception_score

COUNT = 16


@dataclass
class Passes:
    """Features and logits of the same images in all networks; the first half is set A."""

    ours: dict[Recipe, tuple[Tensor, Tensor]]
    pytorch_fid: Tensor
    torch_fidelity: tuple[Tensor, Tensor]


def random_weights(images: Tensor) -> dict[str, Tensor]:
    """Weights under which images differ visibly, in features as in logits."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = fid_inception()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # running statistics become those of this one batch
    with torch.no_grad():
        network.train()(F.interpolate(images.expand(-1, 3, -1, -1) / 127.5 - 1, (299, 299)))
        network.fc.weight *= 60
    return network.state_dict()


@pytest.fixture(scope="module")
def passes(tmp_path_factory: pytest.TempPathFactory) -> Passes:
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(COUNT, 1, 5, 5, generator=rng)
    images = (F.interpolate(coarse, (28, 28), mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)
    images[COUNT // 2 :] //= 2
    weights = random_weights(images[::4])
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    torch.save(weights, path)
    colour = images.expand(-1, 3, -1, -1)
    ours: dict[Recipe, tuple[Tensor, Tensor]] = {}
    for recipe in ("pytorch-fid", "torch-fidelity"):
        network = fid_inception()
        network.load_state_dict(weights)
        evaluator = InceptionEvaluator(InceptionEvaluator.Params(recipe=recipe)).use(network)
        ours[recipe] = evaluate(evaluator, images)
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(pytorch_fid.inception, "load_state_dict_from_url", lambda *_, **__: weights)
        reference = pytorch_fid.inception.InceptionV3().eval()
        theirs = reference(colour / 255)[0].flatten(1)
        fidelity = FeatureExtractorInceptionV3(
            "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
        return Passes(ours, theirs, fidelity(colour))


def halves(features: Tensor) -> tuple[Tensor, Tensor]:
    """Sets A and B, along 6 fixed random directions: 2,048 take the others a minute."""
    rng = torch.Generator().manual_seed(1)
    directions = torch.randn(features.shape[1], 6, generator=rng) / 8
    seen = features @ directions
    return seen[: COUNT // 2], seen[COUNT // 2 :]


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def test_the_test_is_not_vacuous(passes: Passes) -> None:
    features, logits = passes.ours["pytorch-fid"]
    assert features.shape == (COUNT, 2048)
    assert logits.shape == (COUNT, 1008)
    assert relative(features[:1], features[1:2]) > 0.05
    assert inception_score(logits, splits=2)[0] > 1.5


def test_features_equal_those_of_pytorch_fid(passes: Passes) -> None:
    assert relative(passes.ours["pytorch-fid"][0], passes.pytorch_fid) < 1e-3


def test_features_and_unbiased_logits_equal_those_of_torch_fidelity(passes: Passes) -> None:
    for ours, theirs in zip(passes.ours["torch-fidelity"], passes.torch_fidelity, strict=True):
        assert relative(ours, theirs) < 1e-3


@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")  # within pytorch-fid
def test_fid_equals_that_of_pytorch_fid(passes: Passes) -> None:
    moments = []
    for part in halves(passes.pytorch_fid):
        moments += [part.double().numpy().mean(0), part.double().T.cov().numpy()]
    expected = calculate_frechet_distance(*moments)
    ours = [Statistics.of(part) for part in halves(passes.ours["pytorch-fid"][0])]
    assert frechet_distance(*ours) == pytest.approx(expected, rel=1e-3)


def test_fid_and_inception_score_equal_those_of_torch_fidelity(passes: Passes) -> None:
    features, logits = passes.torch_fidelity
    theirs = [fid_features_to_statistics(part.double()) for part in halves(features)]
    expected = fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"]
    ours = [Statistics.of(part) for part in halves(passes.ours["torch-fidelity"][0])]
    assert frechet_distance(*ours) == pytest.approx(expected, rel=1e-3)
    score = isc_features_to_metric(logits, splits=2)["inception_score_mean"]
    got, _ = inception_score(passes.ours["torch-fidelity"][1], splits=2)
    assert got == pytest.approx(score, rel=1e-3)


@pytest.mark.slow
def test_fid_in_all_dimensions_equals_that_of_both(passes: Passes) -> None:
    def sets(features: Tensor) -> list[Tensor]:
        return [features[: COUNT // 2], features[COUNT // 2 :]]

    recipes: list[tuple[Tensor, Recipe]] = [
        (passes.pytorch_fid, "pytorch-fid"),
        (passes.torch_fidelity[0], "torch-fidelity"),
    ]
    for theirs, recipe in recipes:
        statistics = [fid_features_to_statistics(part.double()) for part in sets(theirs)]
        expected = fid_statistics_to_metric(*statistics, verbose=False)
        ours = [Statistics.of(part) for part in sets(passes.ours[recipe][0])]
        assert frechet_distance(*ours) == pytest.approx(
            expected["frechet_inception_distance"], rel=1e-3
        )


@pytest.mark.parametrize("shape", [(28, 28), (32, 20), (299, 299), (400, 310)])
def test_resize_equals_that_of_tensorflow_1(shape: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)) * 255
    expected = interpolate_bilinear_2d_like_tensorflow1x(images, (299, 299), align_corners=False)
    torch.testing.assert_close(resize_tensorflow(images, 299), expected, rtol=1e-5, atol=1e-3)


def test_the_recipe_is_part_of_the_identity() -> None:
    network = fid_inception()
    described = InceptionEvaluator(InceptionEvaluator.Params()).use(network, "ab" * 32).describe()
    assert described["weights_sha256"] == "ab" * 32
    assert described["resize"] == "bilinear to 299, as pytorch-fid"
    assert described["batch_size"] == 50


def test_building_the_network_fetches_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("network access")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert fid_inception().fc.out_features == 1008
    assert list(tmp_path.iterdir()) == []

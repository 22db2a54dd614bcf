"""Each stage by itself: what it leaves, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
import torch

from dpbench import stages
from dpbench.api import Context, LabelledImages, to_uint8
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.metrics.protocol import Protocol
from dpbench.plugins import Registry
from dpbench.stages import DataKeys, GeneratorTask, Lane, LatentsTask, PublicTask
from dpbench.stages.data import PARTS
from dpbench.stages.public import load_public_model
from dpbench.store import Store

Made = Callable[..., None]
DATA = DataKeys.of(fake_plugins.TinyData(None).load(Path()))
CONTEXT = Context(seed=1)
LATENTS = {"standardise": "whiten", "public_images": 100, "augment": False}


def component(kind: str, name: str, cls: Any, **params: Any) -> Component:
    return Component(kind, name, name, cls.Params(**params).model_dump(mode="json"))


def linear(**params: Any) -> Component:
    return component("public", "linear", fake_plugins.LinearModel, **params)


def look(**params: Any) -> Component:
    return component("extractor", "look", fake_plugins.LookExtractor, **params)


def mean(**params: Any) -> Component:
    return component("generator", "mean", fake_plugins.MeanGenerator, **params)


@pytest.fixture
def store(tmp_path: Path, fakes: Registry) -> Store:
    store = Store(tmp_path / "artifacts")
    stages.save_partition(store, DATA, fake_plugins.TinyData(None).load(tmp_path))
    return store


@pytest.fixture
def extracted(store: Store) -> Store:
    PublicTask("model", DATA.public, linear(), 1).run(store, CONTEXT)
    LatentsTask("z", DATA, "model", linear(), look(), LATENTS, 2).run(store, CONTEXT)
    return store


def lane(key: str, lane_seed: int = 0, **params: Any) -> Lane:
    return Lane(key, mean(**params).params, 1.0, None, 1e-4, 1.0, lane_seed, lane_seed)


def train(store: Store, *lanes: Lane) -> dict[str, str]:
    return GeneratorTask("z", mean(), lanes).run(store, CONTEXT)


def test_a_partition_comes_back_from_the_store(store: Store, tmp_path: Path) -> None:
    before = fake_plugins.TinyData(None).load(tmp_path)
    for part in PARTS:
        after = stages.load_part(store, getattr(DATA, part))
        assert torch.equal(after.images, getattr(before, part).images)
        assert torch.equal(after.labels, getattr(before, part).labels)


def test_latents_are_standardised_by_public_ones_alone(extracted: Store) -> None:
    left = extracted.load("latents", "z")
    assert left.tensors["public"].shape == (100, 3)
    assert left.tensors["private"].shape == (120, 3)
    torch.testing.assert_close(left.tensors["public"].mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(left.tensors["public"].T), torch.eye(3), atol=1e-2, rtol=0)
    assert left.tensors["shown"].dtype == left.tensors["reconstructed"].dtype == torch.uint8
    assert 0 < left.meta["reconstruction_mse"] < 0.2


def test_an_extractor_may_have_latents_standardised_in_its_own_way(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    PublicTask("model", DATA.public, linear(), 1).run(store, CONTEXT)
    monkeypatch.setattr(fake_plugins.LookExtractor, "standardise", "scale")
    LatentsTask("z", DATA, "model", linear(), look(), LATENTS, 2).run(store, CONTEXT)
    public = store.load("latents", "z").tensors["public"]
    assert float(public.square().mean()) == pytest.approx(1, abs=0.02)
    assert not torch.allclose(torch.cov(public.T), torch.eye(3), atol=0.05)


def test_latents_do_not_depend_on_other_private_images(store: Store, tmp_path: Path) -> None:
    data = fake_plugins.TinyData(None).load(tmp_path)
    fewer = LabelledImages(data.private.images[:50], data.private.labels[:50])
    other = replace(data, private=fewer)
    stages.save_partition(store, DataKeys.of(other), other)
    PublicTask("model", DATA.public, linear(), 1).run(store, CONTEXT)
    for key, of in (("all", DATA), ("some", DataKeys.of(other))):
        LatentsTask(key, of, "model", linear(), look(), LATENTS, 2).run(store, CONTEXT)
    both, some = (store.load("latents", key).tensors for key in ("all", "some"))
    torch.testing.assert_close(both["private"][:50], some["private"])
    assert torch.equal(both["public"], some["public"])


def test_a_stage_repeats_under_its_seed(extracted: Store) -> None:
    LatentsTask("again", DATA, "model", linear(), look(), LATENTS, 2).run(extracted, CONTEXT)
    first, second = (extracted.load("latents", key).tensors for key in ("z", "again"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("short", r"extractor 'look' returned shape \(99, 3\) instead of \(100, 3\)"),
        ("nan", "extractor 'look' holds NaN"),
    ],
)
def test_wrong_latents_are_refused(extracted: Store, fault: str, message: str) -> None:
    task = LatentsTask("bad", DATA, "model", linear(), look(fault=fault), LATENTS, 2)
    with pytest.raises(DpbenchError, match=message):
        task.run(extracted, CONTEXT)
    assert not extracted.has("latents", "bad")


def test_a_public_model_that_reaches_nan_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(self: Any, images: Any, context: Any) -> None:
        self.axes.data.fill_(math.nan)

    monkeypatch.setattr(fake_plugins.LinearModel, "fit", explode)
    with pytest.raises(DpbenchError, match="public model 'linear' holds NaN or infinity"):
        PublicTask("bad", DATA.public, linear(), 1).run(store, CONTEXT)
    assert not store.has("public", "bad")


def test_a_trained_generator_leaves_state_ledger_and_spending(extracted: Store) -> None:
    assert train(extracted, lane("one"), lane("two", 5)) == {}
    left = extracted.load("generator", "one")
    assert left.tensors["mean"].shape == (3,)
    assert left.meta["diverged"] is False
    assert left.meta["rng"] == "seeded"
    (mechanism,) = left.meta["ledger"]["mechanisms"]
    assert (mechanism["noise_multiplier"], mechanism["sensitivity"]) == (100.0, 1.0)
    assert 0 < left.meta["spent"]["epsilon"] < 1
    other = extracted.load("generator", "two").tensors["mean"]
    assert not torch.equal(left.tensors["mean"], other)


def test_a_lane_has_the_same_numbers_alone_and_beside_others(extracted: Store) -> None:
    train(extracted, lane("alone", 5))
    train(extracted, lane("first", 4), lane("beside", 5), lane("third", 6))
    alone, beside = (
        extracted.load("generator", key).tensors["mean"] for key in ("alone", "beside")
    )
    assert torch.equal(alone, beside)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("shape", r"generator 'mean' sampled shape (64, 4) instead of (64, 3): return [count, d]"),
        ("silent", "generator 'mean' used no private data: learn through the handle's mechanisms"),
    ],
)
def test_a_bad_lane_leaves_its_neighbours(extracted: Store, fault: str, reason: str) -> None:
    failures = train(extracted, lane("good"), lane("bad", lane=fault), lane("fine", 3))
    assert set(failures) == {"bad"}
    assert reason in failures["bad"]
    assert extracted.has("generator", "good")
    assert extracted.has("generator", "fine")
    assert not extracted.has("generator", "bad")


@pytest.mark.parametrize("fault", ["nan", "infinite"])
def test_divergence_is_kept_as_such(extracted: Store, fault: str) -> None:
    assert train(extracted, lane("bad", lane=fault)) == {}
    left = extracted.load("generator", "bad")
    assert left.meta["diverged"] is True
    assert left.tensors == {}
    assert left.meta["spent"]["epsilon"] > 0  # what is spent is spent


@pytest.fixture
def evaluated(extracted: Store) -> Store:
    train(extracted, lane("good"))
    parts = DATA.labelling, DATA.test, DATA.private_classes
    domain = Component("evaluator", "domain", "domain", {"epochs": 4})
    stages.EvaluatorTask("evaluator", *parts, domain, 3).run(extracted, CONTEXT)
    stages.ReferencesTask("references", DATA, "evaluator").run(extracted, CONTEXT)
    return extracted


def score(source: stages.Source, *metrics: tuple[Component, str], **more: Any) -> stages.ScoreTask:
    return stages.ScoreTask(
        source=source,
        samples=f"samples-{source}-{more.get('seed', 0)}",
        data=DATA,
        evaluator="evaluator",
        labeller="evaluator",
        references="references",
        protocol=Protocol(name="tiny", samples=40, metrics=("brightness",)),
        metrics=metrics,
        seed=more.pop("seed", 0),
        model=linear(),
        public="model",
        latents="z",
        generator=mean(),
        trained=more.pop("trained", "good" if source == "trial" else None),
    )


def brightness(fault: str = "none") -> Component:
    return component("metric", "brightness", fake_plugins.Brightness, fault=fault)


def test_scores_say_under_which_protocol(evaluated: Store) -> None:
    score("trial", (brightness(), "b")).run(evaluated, CONTEXT)
    meta = evaluated.load("score", "b").meta
    assert 0 < meta["values"]["brightness"] < 255
    assert meta["protocol"]["samples"] == meta["count"] == 40
    assert meta["protocol"]["evaluator"] == "domain"
    assert len(meta["protocol"]["weights_sha256"]) == 64
    assert evaluated.load("features", "samples-trial-0").tensors["preview"].shape == (40, 1, 16, 16)


@pytest.mark.parametrize(
    ("source", "like"),
    [("real", "test"), ("public-images", "public"), ("reconstruction", "private")],
)
def test_the_controls_are_what_they_are_called(
    evaluated: Store, source: stages.Source, like: str
) -> None:
    score(source, (brightness(), "b")).run(evaluated, CONTEXT)
    shown = evaluated.load("features", f"samples-{source}-0").tensors["preview"]
    partition = fake_plugins.TinyData(None).load(Path())
    if source == "reconstruction":
        model = load_public_model(evaluated, "model", linear(), CONTEXT.device)
        known = to_uint8(model.decode(model.encode(partition.private.images / 255)))
    elif source == "real":
        known = partition.private_test.images
    else:
        known = partition.public.images
    gaps = (
        (shown.float().flatten(1)[:, None] - known.float().flatten(1)[None]).abs().amax(2).amin(1)
    )
    assert gaps.max() <= 1, like  # each shown image is one of them, up to rounding


def test_the_public_prior_needs_no_private_image(evaluated: Store) -> None:
    score("public-prior", (brightness(), "b")).run(evaluated, CONTEXT)
    shown = evaluated.load("features", "samples-public-prior-0").tensors["preview"]
    assert shown.shape == (40, 1, 16, 16)
    assert len(shown.flatten(1).unique(dim=0)) == 40


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raises", "RuntimeError: the metric broke"),
        ("nan", "brightness is not a finite number"),
        ("columns", "returned ['other'], not ['brightness']"),
    ],
)
def test_a_metric_that_fails_costs_no_other(evaluated: Store, fault: str, reason: str) -> None:
    task = score("trial", (brightness(fault), "bad"), (brightness(), "good"))
    task.run(evaluated, CONTEXT)
    bad, good = (evaluated.load("score", key).meta for key in ("bad", "good"))
    assert reason in bad["unavailable"]
    assert "values" not in bad
    assert "values" in good


def test_a_metric_more_on_known_samples_needs_no_forward_pass(
    evaluated: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    score("trial", (brightness(), "b")).run(evaluated, CONTEXT)
    fid = Component("metric", "fid", "fid", {})
    monkeypatch.setattr("dpbench.metrics.views.evaluate", lambda *_: pytest.fail("a forward pass"))
    score("trial", (fid, "f")).run(evaluated, CONTEXT)
    assert evaluated.load("score", "f").meta["values"]["fid"] >= 0


def test_corrupt_features_are_computed_again(evaluated: Store) -> None:
    score("trial", (brightness(), "b")).run(evaluated, CONTEXT)
    path = evaluated.path("features", "samples-trial-0") / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    score("trial", (Component("metric", "fid", "fid", {}), "f")).run(evaluated, CONTEXT)
    assert evaluated.check("features", "samples-trial-0")
    assert "values" in evaluated.load("score", "f").meta


def test_a_diverged_trial_is_never_scored(evaluated: Store) -> None:
    train(evaluated, lane("bad", lane="nan"))
    score("trial", (brightness(), "b"), trained="bad").run(evaluated, CONTEXT)
    assert not evaluated.has("score", "b")


def test_private_and_non_private_lanes_are_refused_in_one_task(extracted: Store) -> None:
    free = replace(lane("free"), epsilon=math.inf)
    with pytest.raises(DpbenchError, match="private and non-private trials in one task"):
        train(extracted, lane("private"), free)
    assert train(extracted, free) == {}
    with_noise = replace(lane("noisy"), epsilon=math.inf, noise_multiplier=1.0)
    assert train(extracted, lane("private"), with_noise) == {}

"""No stage turns all private images into floats, and references too large to hold still score."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dpbench import stages
from dpbench.api import Context, Partition
from dpbench.component import Component
from dpbench.metrics import views
from dpbench.metrics.kid import kernel_distance
from dpbench.metrics.protocol import Protocol
from dpbench.plugins import Registry
from dpbench.stages import (
    DataKeys,
    EvaluatorTask,
    GeneratorTask,
    Lane,
    LatentsTask,
    PublicTask,
    ReferencesTask,
    ScoreTask,
)
from dpbench.stages.references import load_references
from dpbench.store import Store

PRIVATE = 6000
PIXELS = fake_plugins.SIDE**2
METRICS: dict[str, dict[str, Any]] = {
    "fid": {},
    "is": {},
    "classes": {},
    "kid": {"subset_size": 20},
    "prdc": {"samples": 40},
    "leakage": {"candidates": 60},
}


class LargestFloats(TorchDispatchMode):
    """Remembers how many numbers the largest tensor of floats held."""

    largest = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self.largest = max(self.largest, tensor.numel())
        return result


def component(kind: str, name: str, params: dict[str, Any]) -> Component:
    return Component(kind, name, name, params)


def partition() -> Partition:
    parts = fake_plugins.TinyData(None).load(Path())
    many = fake_plugins.make_images(2 * PRIVATE, 5).of_classes((0, 2))
    return Partition(parts.labelling, parts.public, many, parts.test, parts.private_classes)


def run_everything(store: Store) -> Store:
    """Run all stages on many private images and few others; score them by every cheap metric."""
    data = partition()
    keys = DataKeys.of(data)
    stages.save_partition(store, keys, data)
    linear = component("public", "linear", {"latent": 3})
    encoder = component("extractor", "encoder", {})
    mean = component("generator", "mean", {})
    domain = component("evaluator", "domain", {})
    latents = {"standardise": "whiten", "public_images": 100, "augment": True}
    context = Context(1)
    tasks: list[stages.Task] = [
        EvaluatorTask("evaluator", keys.labelling, keys.test, (0, 2), domain, 3),
        ReferencesTask("references", keys, "evaluator"),
        PublicTask("model", keys.public, linear, 1),
        LatentsTask("z", keys, "model", linear, encoder, latents, 2),
        GeneratorTask("z", mean, (Lane("trained", {}, 1.0, None, 1e-5, 1.0, 0, 0),)),
    ]
    for task in tasks:
        assert task.run(store, context) == {}
    scoring = ScoreTask(
        source="trial",
        samples="samples",
        data=keys,
        evaluator="evaluator",
        labeller="evaluator",
        references="references",
        protocol=Protocol(name="tiny", samples=80, metrics=tuple(METRICS)),
        metrics=tuple((component("metric", m, METRICS[m]), m) for m in METRICS),
        seed=0,
        model=linear,
        public="model",
        latents="z",
        generator=mean,
        trained="trained",
    )
    scoring.run(store, context)
    return store


def figures(store: Store) -> dict[str, float]:
    return {k: v for name in METRICS for k, v in store.load("score", name).meta["values"].items()}


def test_no_stage_asks_for_all_private_images_as_floats(
    tmp_path: Path,
    fakes: Registry,
    forget: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "KEPT", 900)
    with LargestFloats() as watched:
        run_everything(Store(tmp_path))
    assert 0 < watched.largest < PRIVATE * PIXELS / 2


def test_references_too_large_to_hold_score_as_if_they_were_held(
    tmp_path: Path,
    fakes: Registry,
    forget: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = figures(run_everything(Store(tmp_path / "whole")))
    forget()
    monkeypatch.setattr(views, "KEPT", 900)
    store = run_everything(Store(tmp_path / "part"))
    part = figures(store)
    for exact in ("fid", "fid_test", "is", "private_share"):  # statistics are of all images
        assert part[exact] == pytest.approx(whole[exact], rel=1e-9), exact
    kept = store.load("references", "references").tensors
    # KID is of those that are held, and no further from that of all than its own error allows.
    scored = store.load("features", "samples").tensors["features"]
    held = kernel_distance(scored, kept["private_train.features"], METRICS["kid"]["subset_size"])
    assert (part["kid"], part["kid_se"]) == pytest.approx(held, rel=1e-9)
    error = math.hypot(part["kid_se"], whole["kid_se"])
    assert abs(part["kid"] - whole["kid"]) < 2 * error
    assert kept["private_train.features"].shape == (900, 128)
    _, references = load_references(
        store,
        "references",
        DataKeys.of(partition()),
        "evaluator",
        "evaluator",
        "private-train",
        "cpu",
    )
    view = references.private_train
    assert (len(view), view.population) == (900, PRIVATE)
    assert view.labels is not None
    torch.testing.assert_close(references.labeller(view.images[:50])[0], view.features[:50])

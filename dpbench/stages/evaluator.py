"""Evaluators and the references seen through them: what every score needs."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from dpbench.api import Context, LabelledImages, Partition
from dpbench.metrics.evaluators import Evaluator
from dpbench.metrics.evaluators.domain import DomainEvaluator, train_domain_classifier
from dpbench.metrics.evaluators.inception import load_inception
from dpbench.metrics.frechet import Moments
from dpbench.metrics.views import References, View, kept_rows
from dpbench.stages.data import load_partition
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["EvaluatorTask", "load_evaluator", "load_references"]


@dataclass(frozen=True)
class EvaluatorTask(Task):
    """Train (or load) an evaluator and pass the reference images through it."""

    key: str
    data: str
    evaluator: str
    seed: int
    weights: str | None = None
    cache: str | None = None
    stage: ClassVar[str] = "evaluator"
    plural: ClassVar[str] = "evaluators"

    def reads(self) -> Sequence[ArtifactId]:
        return [ArtifactId("data", self.data)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        partition = load_partition(store, self.data)
        tensors: dict[str, Tensor] = {}
        meta: dict[str, Any] = {"evaluator": self.evaluator}
        if self.evaluator == "domain":
            evaluator: Evaluator = train_domain_classifier(partition, context)
            assert isinstance(evaluator, DomainEvaluator)
            tensors |= {f"state.{k}": v for k, v in evaluator.state().items()}
            meta["test_accuracy"] = evaluator.test_accuracy
        else:
            evaluator = _inception(self.weights, self.cache).to(context.device)
            meta |= {"weights": self.weights, "cache": self.cache}
        for name, images in _reference_images(partition).items():
            view = View.sampled(images.images, evaluator)
            tensors |= {f"{name}.{what}": tensor for what, tensor in _state(view).items()}
        store.save(self.stage, self.key, Artifact(meta, tensors))
        return {}


def _state(view: View) -> dict[str, Tensor]:
    """Gather what :func:`_restored` needs beside the images, as named CPU tensors."""
    assert view.moments is not None
    return {
        "features": view.features,
        "logits": view.logits,
        "mean": view.moments.mean.cpu(),
        "scatter": view.moments.scatter.cpu(),
    }


def _restored(images: LabelledImages, evaluator: Evaluator, state: dict[str, Tensor]) -> View:
    """Undo :func:`_state`, given the whole set of images."""
    rows = kept_rows(len(images), len(state["features"]))
    held = (
        images
        if len(rows) == len(images)
        else LabelledImages(images.images[rows], images.labels[rows])
    )
    return View(
        held.images,
        evaluator,
        features=state["features"],
        logits=state["logits"],
        labels=held.labels,
        moments=Moments(len(images), state["mean"], state["scatter"]),
    )


def _reference_images(partition: Partition) -> dict[str, LabelledImages]:
    return {
        "private_train": partition.private,
        "private_test": partition.private_test,
        "calibration": partition.labelling.of_classes(partition.private_classes),
    }


def _inception(weights: str | None, cache: str | None) -> Evaluator:
    where = Path(cache) if cache else Path.cwd()
    evaluator: Evaluator = load_inception(Path(weights) if weights else None, where)
    return evaluator


def load_evaluator(store: Store, key: str, device: torch.device) -> Evaluator:
    """Rebuild an evaluator from its artifact."""
    artifact = store.load("evaluator", key)
    if artifact.meta["evaluator"] == "inception":
        return _inception(artifact.meta["weights"], artifact.meta["cache"]).to(device)
    state = {
        name.removeprefix("state."): tensor
        for name, tensor in artifact.tensors.items()
        if name.startswith("state.")
    }
    return DomainEvaluator.restore(state).to(device)


@functools.lru_cache(maxsize=4)
def load_references(
    store: Store, data: str, evaluator_key: str, labeller_key: str, primary: str, device: str
) -> tuple[Evaluator, References]:
    """Return the evaluator and its references, remembered by the process."""
    partition = load_partition(store, data)
    evaluator = load_evaluator(store, evaluator_key, torch.device(device))
    labeller = (
        evaluator
        if labeller_key == evaluator_key
        else load_evaluator(store, labeller_key, torch.device(device))
    )
    tensors = store.load("evaluator", evaluator_key).tensors
    views = {
        name: _restored(
            images,
            evaluator,
            {
                what.removeprefix(f"{name}."): tensor
                for what, tensor in tensors.items()
                if what.startswith(f"{name}.")
            },
        )
        for name, images in _reference_images(partition).items()
    }
    references = References(
        private_train=views["private_train"],
        private_test=views["private_test"],
        calibration=views["calibration"],
        private_classes=partition.private_classes,
        labeller=labeller,
        primary_name="private-test" if primary == "private-test" else "private-train",
    )
    return evaluator, references

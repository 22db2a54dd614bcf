"""Real images as an evaluator sees them: what every score is measured against."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dpbench.api import Context, Evaluator, LabelledImages
from dpbench.metrics.frechet import Moments
from dpbench.metrics.views import Reference, References, View, kept_rows
from dpbench.stages.data import DataKeys, load_part, part_id
from dpbench.stages.evaluator import load_evaluator
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["ReferencesTask", "load_references"]


@dataclass(frozen=True)
class ReferencesTask(Task):
    """Pass the private images and their held-out fellows through an evaluator."""

    key: str
    data: DataKeys
    evaluator: str
    seed: int = 0
    stage: ClassVar[str] = "references"
    plural: ClassVar[str] = "references"

    def reads(self) -> Sequence[ArtifactId]:
        parts = map(part_id, (self.data.private, self.data.test, self.data.labelling))
        return [*parts, ArtifactId("evaluator", self.evaluator)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        evaluator = load_evaluator(store, self.evaluator, context.device)
        tensors: dict[str, Tensor] = {}
        for name, images in _reference_images(store, self.data).items():
            view = View.sampled(images.images, evaluator)
            tensors |= {f"{name}.{what}": tensor for what, tensor in _state(view).items()}
        store.save(self.stage, self.key, Artifact({}, tensors))
        return {}


def _reference_images(store: Store, data: DataKeys) -> dict[str, LabelledImages]:
    return {
        "private_train": load_part(store, data.private),
        "private_test": load_part(store, data.test).of_classes(data.private_classes),
        "calibration": load_part(store, data.labelling).of_classes(data.private_classes),
    }


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


@functools.lru_cache(maxsize=4)
def load_references(
    store: Store,
    key: str,
    data: DataKeys,
    evaluator_key: str,
    labeller_key: str,
    primary: Reference,
    device: str,
) -> tuple[Evaluator, References]:
    """Return the evaluator and its references, remembered by the process."""
    evaluator = load_evaluator(store, evaluator_key, torch.device(device))
    labeller = (
        evaluator
        if labeller_key == evaluator_key
        else load_evaluator(store, labeller_key, torch.device(device))
    )
    tensors = store.load("references", key).tensors
    views = {
        name: _restored(images, evaluator, _named(tensors, name))
        for name, images in _reference_images(store, data).items()
    }
    references = References(
        private_train=views["private_train"],
        private_test=views["private_test"],
        calibration=views["calibration"],
        private_classes=data.private_classes,
        labeller=labeller,
        primary_name=primary,
    )
    return evaluator, references


def _named(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return those tensors whose names begin with ``name``, by the rest of their names."""
    begin = f"{name}."
    return {what.removeprefix(begin): t for what, t in tensors.items() if what.startswith(begin)}

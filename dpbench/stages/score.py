"""Scores: one pass through the evaluator feeds every metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dpbench import plugins
from dpbench.api import Context, Evaluator, Metric, MetricUnavailable
from dpbench.component import Component
from dpbench.errors import told
from dpbench.metrics.protocol import Protocol
from dpbench.metrics.views import References, View
from dpbench.privacy.by_class import draw
from dpbench.stages.data import DataKeys, load_part
from dpbench.stages.detail import found_gains, render
from dpbench.stages.public import load_public_model, require_finite
from dpbench.stages.references import load_references
from dpbench.stages.standardise import Standardiser
from dpbench.stages.task import Task
from dpbench.stages.trained import SNAPSHOTS, restore_generator
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["GAINS", "ScoreTask", "Source", "quantisation"]

#: What sharpened the images that features are of.
GAINS = "gains"
#: Images kept of each scored set, for pictures.
PREVIEW = 100


Source = Literal["trial", "real", "public-images", "reconstruction", "public-prior"]


@dataclass(frozen=True)
class ScoreTask(Task):
    """Score one source of images under one protocol; one artifact per metric.

    ``metrics`` pairs each metric still to be computed with its artifact's key.
    ``samples`` is the key under which the source's features are kept. With
    ``labelled`` the trained generator samples by class. ``sharpened`` says whether
    decoded images are, its own or its rivals'.
    """

    source: Source
    samples: str
    data: DataKeys
    evaluator: str
    labeller: str
    references: str
    protocol: Protocol
    metrics: tuple[tuple[Component, str], ...]
    seed: int
    model: Component | None = None
    public: str | None = None
    latents: str | None = None
    generator: Component | None = None
    trained: str | None = None
    labelled: bool = False
    sharpened: bool = False
    stage: ClassVar[str] = "score"
    plural: ClassVar[str] = "scores"

    def reads(self) -> Sequence[ArtifactId]:
        upstream = {
            "public": self.public,
            "latents": self.latents,
            "generator": self.trained,
        }
        return [
            *self.data.parts(),
            ArtifactId("references", self.references),
            *dict.fromkeys(ArtifactId("evaluator", k) for k in (self.evaluator, self.labeller)),
            *(ArtifactId(stage, key) for stage, key in upstream.items() if key),
        ]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, key) for _, key in self.metrics]

    def split(self) -> Sequence[Task]:
        """Return one task for each metric: one that ends its process costs its own figures."""
        if len(self.metrics) == 1:
            return ()
        return [replace(self, metrics=(metric,)) for metric in self.metrics]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        """Compute the metrics asked for; a metric that fails leaves its reason."""
        if self.trained and store.meta("generator", self.trained)["diverged"]:
            return {}  # there is nothing to score
        evaluator, references = load_references(
            store,
            self.references,
            self.data,
            self.evaluator,
            self.labeller,
            self.protocol.reference,
            str(context.device),
        )
        view = self._view(store, context, evaluator)
        identity = self.protocol.identity(evaluator)
        identity["quantisation"] = quantisation(identity["quantisation"], self.sharpened)
        for done, (component, key) in enumerate(self.metrics):
            artifact = _measured(component, view, references, context)
            artifact.meta.update(protocol=identity, count=len(view))
            store.save(self.stage, key, artifact)
            context.progress(done + 1, len(self.metrics))
        return {}

    def _view(self, store: Store, context: Context, evaluator: Evaluator) -> View:
        """Return the images to score, their features from the store where they are there."""
        images, labels, found = _source_images(self, store, context)
        if _current(store, self.samples):
            cached = store.load("features", self.samples).tensors
            features, logits = cached["features"], cached["logits"]
            return View(images, evaluator, features=features, logits=logits, labels=labels)
        store.remove("features", self.samples)  # those of others' weights, or damaged ones
        view = View(images, evaluator, labels=labels)
        kept = Artifact(
            {"count": len(images)},
            {"features": view.features, "logits": view.logits, "preview": images[:PREVIEW]},
        )
        if labels is not None:
            kept.tensors["labels"] = labels
        if found is not None:
            kept.tensors[GAINS], kept.meta["sharpness"] = found
        _decode_snapshots(self, store, context, kept)
        store.save("features", self.samples, kept)
        return view


def quantisation(plain: str, sharpened: bool) -> str:
    """Say what becomes of decoded images, of which a protocol says what is done to any."""
    return f"sharpen to the detail of public images, {plain}" if sharpened else plain


def _current(store: Store, samples: str) -> bool:
    """Say whether features are there, of these images and by this evaluator."""
    return store.check("features", samples) and store.outdated("features", samples) is None


def _measured(
    component: Component, view: View, references: References, context: Context
) -> Artifact:
    """Return a metric's figures and picture, or why there are none."""
    cls = plugins.registry().get("metric", component.plugin).cls
    try:
        metric = cls(cls.Params.model_validate(component.params))
        values = _figures(metric, metric.compute(view, references, context))
        picture = _checked(metric.picture(view, references))
    except BaseException as error:  # one metric's fault, SystemExit too, must not cost the others
        return Artifact({"unavailable": told(error)})
    return Artifact({"values": values}, picture)


def _figures(metric: Metric, returned: Any) -> dict[str, float]:
    """Check what a metric returned."""
    if not isinstance(returned, dict) or set(returned) != set(metric.columns):
        got = sorted(map(str, returned)) if isinstance(returned, dict) else type(returned).__name__
        raise MetricUnavailable(f"returned {got}, not {sorted(metric.columns)}")
    values = {name: float(value) for name, value in returned.items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if bad:
        raise MetricUnavailable(f"{', '.join(bad)} is not a finite number")
    return values


def _checked(picture: Any) -> dict[str, Tensor]:
    """Check the picture of a metric; it may have none."""
    if picture is None:
        return {}
    is_image = isinstance(picture, Tensor) and picture.dtype == torch.uint8 and picture.dim() == 3
    if not is_image:
        raise MetricUnavailable("its picture is no uint8 tensor [C, H, W]")
    return {"picture": picture.detach().cpu()}


def _decode_snapshots(task: ScoreTask, store: Store, context: Context, kept: Artifact) -> None:
    """Put images of a generator's training, ``[S, n, C, H, W]``, beside its features."""
    if task.model is None or task.public is None or task.latents is None or not task.trained:
        return
    trained = store.load("generator", task.trained)
    latents = trained.tensors.get(SNAPSHOTS)
    if latents is None:
        return
    model = load_public_model(store, task.public, task.model, context.device)
    standardiser = Standardiser.from_state(store.load("latents", task.latents).tensors)
    z = standardiser.invert(latents.flatten(0, 1))
    images = render(model, z, context.device, kept.tensors.get(GAINS))
    kept.tensors["snapshots"] = images.unflatten(0, latents.shape[:2])
    kept.meta["snapshot_steps"] = trained.meta["snapshot_steps"]


def _source_images(
    task: ScoreTask, store: Store, context: Context
) -> tuple[Tensor, Tensor | None, tuple[Tensor, float] | None]:
    """Return the ``uint8`` images to score, on the CPU.

    With them come their classes if they have any, and what sharpened them and by how much.
    """
    count = task.protocol.samples
    if task.source == "real":
        test = load_part(store, task.data.test).of_classes(task.data.private_classes)
        return test.images[:count], test.labels[:count], None
    rng = context.generator("samples")
    if task.source == "public-images":
        return _some(load_part(store, task.data.public).images, count, rng), None, None
    assert task.model is not None and task.public is not None and task.latents is not None
    model = load_public_model(store, task.public, task.model, context.device)
    latents = store.load("latents", task.latents).tensors
    standardiser = Standardiser.from_state(latents)
    labels: Tensor | None = None
    if task.source == "reconstruction":
        rows = _rows(len(latents["private"]), count, rng)
        z, labels = standardiser.invert(latents["private"][rows]), latents["labels"][rows]
    elif task.source == "public-prior" and "prior" in model.provides:
        z = torch.randn(count, model.latent_dim, generator=rng)
    elif task.source == "public-prior":
        z = standardiser.invert(_gaussian_like(latents["public"], count, rng))
    else:
        assert task.generator is not None and task.trained is not None
        private = torch.tensor(task.data.private_classes)
        classes = len(private) if task.labelled else 1
        generator = restore_generator(
            store, task.trained, task.generator, model.latent_dim, classes
        )
        sample, places = draw(generator, count, rng, classes)
        require_finite([sample], f"samples of generator {task.generator.name!r}")
        z, labels = standardiser.invert(sample), None if places is None else private[places]
    found = None
    if task.sharpened:
        public, chosen = load_part(store, task.data.public).images, context.generator("compared")
        found = found_gains(model, z, public, chosen, context.device)
    return render(model, z, context.device, found[0] if found else None), labels, found


def _rows(size: int, count: int, rng: torch.Generator) -> Tensor:
    return torch.randperm(size, generator=rng)[:count]


def _some(rows: Tensor, count: int, rng: torch.Generator) -> Tensor:
    return rows[_rows(len(rows), count, rng)]


def _gaussian_like(rows: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Sample a Gaussian with the mean and covariance of ``rows``."""
    covariance = torch.atleast_2d(torch.cov(rows.T.double()))
    values, vectors = torch.linalg.eigh(covariance)
    noise = torch.randn(count, rows.shape[1], generator=rng, dtype=torch.float64)
    sample: Tensor = rows.double().mean(0) + noise * values.clamp_min(0).sqrt() @ vectors.T
    return sample.float()

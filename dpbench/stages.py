"""The four stages, and the evaluator beside them: pure functions from store to store.

Each takes a frozen task that holds the keys of what it reads and writes, so a
task can run in any process, on any machine that sees the store.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dpbench import plugins
from dpbench.api import (
    Context,
    Extractor,
    LabelledImages,
    MetricUnavailable,
    Partition,
    PrivateGenerator,
    PublicModel,
    derive_seed,
    to_uint8,
)
from dpbench.augment import augment
from dpbench.config import Component
from dpbench.errors import DpbenchError
from dpbench.metrics.evaluators import Evaluator
from dpbench.metrics.evaluators.domain import DomainEvaluator, train_domain_classifier
from dpbench.metrics.evaluators.inception import load_inception
from dpbench.metrics.protocol import Protocol
from dpbench.metrics.views import References, View
from dpbench.privacy.accounting import compose
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.standardise import Standardiser
from dpbench.store import Artifact, Store

__all__ = [
    "EvaluatorTask",
    "GeneratorTask",
    "Lane",
    "LatentsTask",
    "PublicTask",
    "ScoreTask",
    "Task",
    "load_partition",
    "save_partition",
]

DECODE_BATCH = 500
PREVIEW = 100
SHOWN = 32
SNAPSHOTS = "harness.snapshots"
PARTS = ("labelling", "public", "private", "test")


@dataclass(frozen=True)
class EvaluatorTask:
    """Train (or load) an evaluator and pass the reference images through it."""

    key: str
    data: str
    evaluator: str
    seed: int
    weights: str | None = None
    cache: str | None = None
    stage: str = "evaluator"


@dataclass(frozen=True)
class PublicTask:
    """Learn a public model from public images."""

    key: str
    data: str
    model: Component
    seed: int
    stage: str = "public"


@dataclass(frozen=True)
class LatentsTask:
    """Extract private and public latents and standardise both by the public ones."""

    key: str
    data: str
    public: str
    model: Component
    extractor: Component
    latents: dict[str, Any]
    seed: int
    stage: str = "latents"


@dataclass(frozen=True)
class Lane:
    """One trial within a generator task; ``key`` names its artifact."""

    key: str
    params: dict[str, Any]
    epsilon: float
    noise_multiplier: float | None
    delta: float
    clip: float
    seed: int


@dataclass(frozen=True)
class GeneratorTask:
    """Train private generators of one architecture on one set of latents, together."""

    latents: str
    generator: Component
    lanes: tuple[Lane, ...]
    secure_rng: bool = False
    stage: str = "generator"


Source = Literal["trial", "real", "public-images", "reconstruction", "public-prior"]


@dataclass(frozen=True)
class ScoreTask:
    """Score one source of images under one protocol; one artifact per metric.

    ``metrics`` pairs each metric still to be computed with its artifact's key.
    ``samples`` is the key under which the source's features are kept.
    """

    source: Source
    samples: str
    data: str
    evaluator: str
    labeller: str
    protocol: Protocol
    metrics: tuple[tuple[Component, str], ...]
    seed: int
    model: Component | None = None
    public: str | None = None
    latents: str | None = None
    generator: Component | None = None
    trained: str | None = None
    stage: str = "score"


Task = EvaluatorTask | PublicTask | LatentsTask | GeneratorTask | ScoreTask


def save_partition(store: Store, key: str, partition: Partition) -> None:
    """Keep a partition in the store, so that workers need no data set plugin."""
    tensors = {}
    for part in PARTS:
        labelled: LabelledImages = getattr(partition, part)
        tensors[f"{part}.images"] = labelled.images
        tensors[f"{part}.labels"] = labelled.labels
    meta = {"private_classes": list(partition.private_classes)}
    store.save("data", key, Artifact(meta, tensors))


@functools.lru_cache(maxsize=2)
def load_partition(store: Store, key: str) -> Partition:
    """Read what :func:`save_partition` wrote; remembered by the process."""
    artifact = store.load("data", key)
    parts = {
        part: LabelledImages(artifact.tensors[f"{part}.images"], artifact.tensors[f"{part}.labels"])
        for part in PARTS
    }
    return Partition(**parts, private_classes=tuple(artifact.meta["private_classes"]))


def run_evaluator(task: EvaluatorTask, store: Store, context: Context) -> None:
    partition = load_partition(store, task.data)
    tensors: dict[str, Tensor] = {}
    meta: dict[str, Any] = {"evaluator": task.evaluator}
    if task.evaluator == "domain":
        evaluator: Evaluator = train_domain_classifier(partition, context)
        assert isinstance(evaluator, DomainEvaluator)
        tensors |= {f"state.{k}": v for k, v in evaluator.state().items()}
        meta["test_accuracy"] = evaluator.test_accuracy
    else:
        evaluator = _inception(task.weights, task.cache).to(context.device)
        meta |= {"weights": task.weights, "cache": task.cache}
    for name, images in _reference_images(partition).items():
        view = View(images.images, evaluator)
        tensors[f"{name}.features"], tensors[f"{name}.logits"] = view.features, view.logits
    store.save("evaluator", task.key, Artifact(meta, tensors))


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
        name: View(
            images.images,
            evaluator,
            features=tensors[f"{name}.features"],
            logits=tensors[f"{name}.logits"],
            labels=images.labels,
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


def run_public(task: PublicTask, store: Store, context: Context) -> None:
    partition = load_partition(store, task.data)
    model = _public_model(task.model, partition.image_shape)
    model.fit(partition.public.images, context)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    _require_finite(state.values(), f"public model {task.model.name!r}")
    store.save("public", task.key, Artifact({"model": task.model.name}, state))


def _public_model(component: Component, image_shape: tuple[int, int, int]) -> PublicModel:
    cls = plugins.registry().get("public", component.plugin).cls
    model: PublicModel = cls(cls.Params.model_validate(component.params), image_shape)
    return model


@functools.lru_cache(maxsize=4)
def _fitted_model(
    store: Store, key: str, data: str, component: _Hashable, device: str
) -> PublicModel:
    model = _public_model(component.component, load_partition(store, data).image_shape)
    model.load_state_dict(store.load("public", key).tensors)
    return model.eval().requires_grad_(False).to(device)


@dataclass(frozen=True)
class _Hashable:
    """A component as a cache key: its artifact's key already covers its content."""

    component: Component

    def __hash__(self) -> int:
        return hash(self.component.name)


def load_public_model(
    store: Store, key: str, data: str, component: Component, device: torch.device
) -> PublicModel:
    """Restore a fitted public model, frozen and in evaluation mode."""
    return _fitted_model(store, key, data, _Hashable(component), str(device))


def run_latents(task: LatentsTask, store: Store, context: Context) -> None:
    partition = load_partition(store, task.data)
    model = load_public_model(store, task.public, task.data, task.model, context.device)
    cls = plugins.registry().get("extractor", task.extractor.plugin).cls
    extractor: Extractor = cls(cls.Params.model_validate(task.extractor.params))
    rng = context.generator("public images")
    images = partition.public.images
    chosen = torch.randperm(len(images), generator=rng)[: task.latents["public_images"]]
    images = images[chosen]
    if task.latents["augment"]:
        images = augment(images, rng)
    total = len(images) + len(partition.private)

    def part(name: str, images: Tensor, done: int) -> Tensor:
        inner = replace(
            context,
            seed=derive_seed(context.seed, name),
            on_progress=lambda f: context.progress(int(done + f * len(images)), total),
        )
        latents = extractor.extract(model, images, inner)
        if latents.shape != (len(images), model.latent_dim):
            raise DpbenchError(
                f"extractor {task.extractor.name!r} returned shape {tuple(latents.shape)} instead "
                f"of {(len(images), model.latent_dim)}: return one latent per image"
            )
        _require_finite([latents], f"extractor {task.extractor.name!r}")
        return latents.detach().float().cpu()

    public = part("public", images, 0)
    private = part("private", partition.private.images, len(images))
    standardiser = Standardiser.from_public(public, task.latents["standardise"])
    shown = partition.private.images[:SHOWN]
    tensors = {
        "private": standardiser.apply(private),
        "public": standardiser.apply(public),
        "shown": shown,
        "reconstructed": decode(model, private[: len(shown)], context.device),
        **standardiser.state(),
    }
    error = _reconstruction_error(model, private, partition.private.images, context)
    meta = {"reconstruction_mse": error, "extractor": task.extractor.name}
    store.save("latents", task.key, Artifact(meta, tensors))


@torch.inference_mode()
def _reconstruction_error(
    model: PublicModel, latents: Tensor, images: Tensor, context: Context, most: int = 2000
) -> float:
    """Mean squared error per pixel in [0, 1] over the first ``most`` images."""
    parts = latents[:most].split(DECODE_BATCH)
    decoded = torch.cat([model.decode(z.to(context.device)).cpu() for z in parts])
    return (decoded - images[:most] / 255).square().mean().item()


def run_generator(task: GeneratorTask, store: Store, context: Context) -> dict[str, str]:
    """Train all lanes; return the reason by key for each lane that failed."""
    latents = store.load("latents", task.latents).tensors
    private, public = latents["private"], latents["public"]
    cls = plugins.registry().get("generator", task.generator.plugin).cls
    generators: list[PrivateGenerator] = []
    privates: list[PrivateLatents] = []
    contexts: list[Context] = []
    snapshots: dict[str, list[tuple[int, Tensor]]] = {lane.key: [] for lane in task.lanes}
    for lane in task.lanes:
        keep = snapshots[lane.key]
        lane_context = replace(
            context, seed=lane.seed, on_snapshot=lambda s, z, keep=keep: keep.append((s, z[:10]))
        )
        budget = Budget(lane.epsilon, lane.delta, lane.noise_multiplier)
        generators.append(cls(cls.Params.model_validate(lane.params), private.shape[1]))
        privates.append(
            PrivateLatents(private, budget, lane.clip, lane_context, secure_rng=task.secure_rng)
        )
        contexts.append(lane_context)
    started = time.perf_counter()
    cls.fit_lanes(generators, privates, public, contexts)
    seconds = (time.perf_counter() - started) / len(task.lanes)
    failures: dict[str, str] = {}
    for lane, generator, handle in zip(task.lanes, generators, privates, strict=True):
        try:
            artifact = _trained(task.generator, generator, handle, seconds)
            _add_snapshots(artifact, snapshots[lane.key])
        except DpbenchError as error:
            failures[lane.key] = str(error)
        else:
            store.save("generator", lane.key, artifact)
    return failures


def _trained(
    component: Component, generator: PrivateGenerator, handle: PrivateLatents, seconds: float
) -> Artifact:
    """Check that a fitted generator can sample; gather its state and its ledger."""
    if not handle.ledger.mechanisms:
        raise DpbenchError(
            f"generator {component.name!r} used no private data: learn through the handle's "
            "mechanisms, or declare yours with raw()"
        )
    state = generator.state()
    sample = generator.sample(64, torch.Generator().manual_seed(0))
    if sample.shape != (64, handle.dim):
        raise DpbenchError(
            f"generator {component.name!r} sampled shape {tuple(sample.shape)} instead of "
            f"{(64, handle.dim)}: return [count, d]"
        )
    finite = all(bool(torch.isfinite(t).all()) for t in (sample, *state.values()))
    spent = compose(handle.ledger.mechanisms, handle.budget.delta)
    meta = {
        "diverged": not finite,
        "spent": spent.model_dump(mode="json"),
        "ledger": handle.ledger.model_dump(mode="json"),
        "rng": handle.rng_mode,
        "seconds": seconds,
    }
    return Artifact(meta, state if finite else {})


def _add_snapshots(artifact: Artifact, taken: list[tuple[int, Tensor]]) -> None:
    if taken and not artifact.meta["diverged"]:
        artifact.tensors[SNAPSHOTS] = torch.stack([latents for _, latents in taken])
        artifact.meta["snapshot_steps"] = [step for step, _ in taken]


def run_score(task: ScoreTask, store: Store, context: Context) -> None:
    """Compute the metrics asked for; a metric that fails leaves its reason."""
    if task.trained and store.load("generator", task.trained).meta["diverged"]:
        return  # there is nothing to score
    evaluator, references = load_references(
        store,
        task.data,
        task.evaluator,
        task.labeller,
        task.protocol.reference,
        str(context.device),
    )
    images = _source_images(task, store, context)
    if store.check("features", task.samples):
        cached = store.load("features", task.samples).tensors
        view = View(images, evaluator, features=cached["features"], logits=cached["logits"])
    else:
        view = View(images, evaluator)
        kept = Artifact(
            {"count": len(images)},
            {"features": view.features, "logits": view.logits, "preview": images[:PREVIEW]},
        )
        _decode_snapshots(task, store, context, kept)
        store.save("features", task.samples, kept)
    identity = task.protocol.identity(evaluator)
    for done, (component, key) in enumerate(task.metrics):
        cls = plugins.registry().get("metric", component.plugin).cls
        metric = cls(cls.Params.model_validate(component.params))
        meta: dict[str, Any] = {"protocol": identity, "count": len(images)}
        try:
            values = metric.compute(view, references, context)
            bad = [name for name, value in values.items() if not math.isfinite(value)]
            if bad:
                raise MetricUnavailable(f"{', '.join(bad)} is not a finite number")
            if set(values) != set(cls.columns):
                raise MetricUnavailable(f"returned {sorted(values)}, not {sorted(cls.columns)}")
            meta["values"] = {name: float(value) for name, value in values.items()}
        except Exception as error:  # one metric's fault must not cost the others
            kind = "" if isinstance(error, DpbenchError) else f"{type(error).__name__}: "
            meta["unavailable"] = f"{kind}{error}".splitlines()[0]
        store.save("score", key, Artifact(meta))
        context.progress(done + 1, len(task.metrics))


def _decode_snapshots(task: ScoreTask, store: Store, context: Context, kept: Artifact) -> None:
    """Put images of a generator's training, ``[S, n, C, H, W]``, beside its features."""
    if task.model is None or task.public is None or task.latents is None or not task.trained:
        return
    trained = store.load("generator", task.trained)
    latents = trained.tensors.get(SNAPSHOTS)
    if latents is None:
        return
    model = load_public_model(store, task.public, task.data, task.model, context.device)
    standardiser = Standardiser.from_state(store.load("latents", task.latents).tensors)
    images = decode(model, standardiser.invert(latents.flatten(0, 1)), context.device)
    kept.tensors["snapshots"] = images.unflatten(0, latents.shape[:2])
    kept.meta["snapshot_steps"] = trained.meta["snapshot_steps"]


def _source_images(task: ScoreTask, store: Store, context: Context) -> Tensor:
    """Return the ``uint8`` images to score, on the CPU."""
    partition = load_partition(store, task.data)
    count = task.protocol.samples
    if task.source == "real":
        return partition.private_test.images[:count]
    rng = context.generator("samples")
    if task.source == "public-images":
        return _some(partition.public.images, count, rng)
    assert task.model is not None and task.public is not None and task.latents is not None
    model = load_public_model(store, task.public, task.data, task.model, context.device)
    latents = store.load("latents", task.latents).tensors
    standardiser = Standardiser.from_state(latents)
    if task.source == "reconstruction":
        z = standardiser.invert(_some(latents["private"], count, rng))
    elif task.source == "public-prior" and "prior" in model.provides:
        z = torch.randn(count, model.latent_dim, generator=rng)
    elif task.source == "public-prior":
        z = standardiser.invert(_gaussian_like(latents["public"], count, rng))
    else:
        assert task.generator is not None and task.trained is not None
        cls = plugins.registry().get("generator", task.generator.plugin).cls
        params = cls.Params.model_validate(task.generator.params)
        generator: PrivateGenerator = cls(params, model.latent_dim)
        state = dict(store.load("generator", task.trained).tensors)
        state.pop(SNAPSHOTS, None)
        generator.restore(state)
        sample = generator.sample(count, rng)
        _require_finite([sample], f"samples of generator {task.generator.name!r}")
        z = standardiser.invert(sample)
    return decode(model, z, context.device)


def _some(rows: Tensor, count: int, rng: torch.Generator) -> Tensor:
    return rows[torch.randperm(len(rows), generator=rng)[:count]]


def _gaussian_like(rows: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Sample a Gaussian with the mean and covariance of ``rows``."""
    covariance = torch.atleast_2d(torch.cov(rows.T.double()))
    values, vectors = torch.linalg.eigh(covariance)
    noise = torch.randn(count, rows.shape[1], generator=rng, dtype=torch.float64)
    sample: Tensor = rows.double().mean(0) + noise * values.clamp_min(0).sqrt() @ vectors.T
    return sample.float()


@torch.inference_mode()
def decode(model: PublicModel, z: Tensor, device: torch.device) -> Tensor:
    """Decode latents ``[N, d]`` to ``uint8`` images on the CPU, in batches."""
    parts = z.split(DECODE_BATCH)
    return torch.cat([to_uint8(model.decode(part.to(device))).cpu() for part in parts])


def _require_finite(tensors: Any, what: str) -> None:
    if not all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point()):
        raise DpbenchError(f"{what} holds NaN or infinity: lower its learning rate")


def outputs(task: Task) -> Sequence[tuple[str, str]]:
    """Return the artifacts, as (stage, key), that a task leaves when it succeeds."""
    if isinstance(task, GeneratorTask):
        return [("generator", lane.key) for lane in task.lanes]
    if isinstance(task, ScoreTask):
        return [("score", key) for _, key in task.metrics]
    return [(task.stage, task.key)]


def run(task: Task, store: Store, context: Context) -> dict[str, str]:
    """Run any task; return failures by key (only generator tasks have several)."""
    if isinstance(task, GeneratorTask):
        return run_generator(task, store, context)
    if isinstance(task, EvaluatorTask):
        run_evaluator(task, store, context)
    elif isinstance(task, PublicTask):
        run_public(task, store, context)
    elif isinstance(task, LatentsTask):
        run_latents(task, store, context)
    else:
        run_score(task, store, context)
    return {}

"""Latents of private and public images, standardised by the public ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dpbench import plugins
from dpbench.api import Context, Extractor, PublicModel, derive_seed
from dpbench.augment import augment
from dpbench.errors import DpbenchError
from dpbench.planning.config import Component
from dpbench.stages.data import load_partition
from dpbench.stages.public import DECODE_BATCH, decode, load_public_model, require_finite
from dpbench.stages.standardise import Standardiser
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["LatentsTask"]

#: Private images kept beside their reconstructions, for a picture.
SHOWN = 32


@dataclass(frozen=True)
class LatentsTask(Task):
    """Extract private and public latents and standardise both by the public ones."""

    key: str
    data: str
    public: str
    model: Component
    extractor: Component
    latents: dict[str, Any]
    seed: int
    stage: ClassVar[str] = "latents"
    plural: ClassVar[str] = "latents"

    def reads(self) -> Sequence[ArtifactId]:
        return [ArtifactId("data", self.data), ArtifactId("public", self.public)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        partition = load_partition(store, self.data)
        model = load_public_model(store, self.public, self.data, self.model, context.device)
        cls = plugins.registry().get("extractor", self.extractor.plugin).cls
        extractor: Extractor = cls(cls.Params.model_validate(self.extractor.params))
        rng = context.generator("public images")
        images = partition.public.images
        chosen = torch.randperm(len(images), generator=rng)[: self.latents["public_images"]]
        images = images[chosen]
        if self.latents["augment"]:
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
                    f"extractor {self.extractor.name!r} returned shape {tuple(latents.shape)} "
                    f"instead of {(len(images), model.latent_dim)}: return one latent per image"
                )
            require_finite([latents], f"extractor {self.extractor.name!r}")
            return latents.detach().float().cpu()

        public = part("public", images, 0)
        private = part("private", partition.private.images, len(images))
        standardiser = Standardiser.from_public(public, self.latents["standardise"])
        shown = partition.private.images[:SHOWN]
        tensors = {
            "private": standardiser.apply(private),
            "public": standardiser.apply(public),
            "shown": shown,
            "reconstructed": decode(model, private[: len(shown)], context.device),
            **standardiser.state(),
        }
        error = _reconstruction_error(model, private, partition.private.images, context)
        meta = {"reconstruction_mse": error, "extractor": self.extractor.name}
        store.save(self.stage, self.key, Artifact(meta, tensors))
        return {}


@torch.inference_mode()
def _reconstruction_error(
    model: PublicModel, latents: Tensor, images: Tensor, context: Context, most: int = 2000
) -> float:
    """Mean squared error per pixel in [0, 1] over the first ``most`` images."""
    parts = latents[:most].split(DECODE_BATCH)
    decoded = torch.cat([model.decode(z.to(context.device)).cpu() for z in parts])
    return (decoded - images[:most] / 255).square().mean().item()

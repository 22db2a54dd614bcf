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
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.stages.data import DataKeys, load_part, part_id
from dpbench.stages.public import DECODE_BATCH, decode, load_public_model, require_finite
from dpbench.stages.standardise import Standardiser
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["LatentsTask"]

#: Private images kept beside their reconstructions, for a picture.
SHOWN = 32


@dataclass(frozen=True)
class LatentsTask(Task):
    """Extract private and public latents and standardise both by the public ones.

    ``public`` is the key of the fitted ``model``.
    """

    key: str
    data: DataKeys
    public: str
    model: Component
    extractor: Component
    latents: dict[str, Any]
    seed: int
    stage: ClassVar[str] = "latents"
    plural: ClassVar[str] = "latents"

    def reads(self) -> Sequence[ArtifactId]:
        parts = map(part_id, (self.data.public, self.data.private))
        return [*parts, ArtifactId("public", self.public)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        model = load_public_model(store, self.public, self.model, context.device)
        around = self._public_images(store, context)
        part = load_part(store, self.data.private)
        images = part.images
        share = len(around) / (len(around) + len(images))
        public = self._extract(model, around, "public", _share(context, 0.0, share))
        private = self._extract(model, images, "private", _share(context, share, 1.0))
        standardiser = Standardiser.from_public(public, self._standardise())
        tensors = {
            "private": standardiser.apply(private),
            "public": standardiser.apply(public),
            "labels": part.labels,
            "shown": images[:SHOWN],
            "reconstructed": decode(model, private[:SHOWN], context.device),
            **standardiser.state(),
        }
        error = _reconstruction_error(model, private, images, context)
        meta = {"reconstruction_mse": error, "extractor": self.extractor.name}
        store.save(self.stage, self.key, Artifact(meta, tensors))
        return {}

    def _standardise(self) -> str:
        """Return how latents are standardised: the extractor's own way, where it has one."""
        own: str | None = plugins.registry().get("extractor", self.extractor.plugin).cls.standardise
        return own or str(self.latents["standardise"])

    def _public_images(self, store: Store, context: Context) -> Tensor:
        """Choose the public images that stand for all, under random maps if so configured."""
        rng = context.generator("public images")
        images = load_part(store, self.data.public).images
        images = images[torch.randperm(len(images), generator=rng)[: self.latents["public_images"]]]
        return augment(images, rng) if self.latents["augment"] else images

    def _extract(self, model: PublicModel, images: Tensor, part: str, context: Context) -> Tensor:
        cls = plugins.registry().get("extractor", self.extractor.plugin).cls
        extractor: Extractor = cls(cls.Params.model_validate(self.extractor.params))
        inner = replace(context, seed=derive_seed(context.seed, part))
        latents = extractor.extract(model, images, inner)
        if latents.shape != (len(images), model.latent_dim):
            raise DpbenchError(
                f"extractor {self.extractor.name!r} returned shape {tuple(latents.shape)} "
                f"instead of {(len(images), model.latent_dim)}: return one latent per image"
            )
        require_finite([latents], f"extractor {self.extractor.name!r}")
        return latents.detach().float().cpu()


def _share(context: Context, begin: float, end: float) -> Context:
    """Return a context whose progress is that part of the whole."""
    return replace(
        context, on_progress=lambda done: context.on_progress(begin + done * (end - begin))
    )


@torch.inference_mode()
def _reconstruction_error(
    model: PublicModel, latents: Tensor, images: Tensor, context: Context, most: int = 2000
) -> float:
    """Mean squared error per pixel in [0, 1] over the first ``most`` images."""
    parts = latents[:most].split(DECODE_BATCH)
    decoded = torch.cat([model.decode(z.to(context.device)).cpu() for z in parts])
    return (decoded - images[:most] / 255).square().mean().item()

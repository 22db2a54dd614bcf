"""Latents of private and public images, standardised by the public ones."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dpbench import plugins
from dpbench.api import Context, Extractor, PublicModel, derive_seed
from dpbench.augment import augment
from dpbench.errors import DpbenchError
from dpbench.stages.data import load_partition
from dpbench.stages.public import DECODE_BATCH, decode, load_public_model, require_finite
from dpbench.stages.standardise import Standardiser
from dpbench.stages.tasks import LatentsTask
from dpbench.store import Artifact, Store

__all__ = ["run_latents"]

#: Private images kept beside their reconstructions, for a picture.
SHOWN = 32


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
        require_finite([latents], f"extractor {task.extractor.name!r}")
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

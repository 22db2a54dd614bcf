"""The public model: learned on public images, then frozen."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dpbench import plugins
from dpbench.api import Context, PublicModel, to_uint8
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.stages.data import load_part, part_id
from dpbench.stages.judge import judge_public_model, unexplained
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["PublicTask", "decode", "load_public_model", "public_model_of", "require_finite"]

DECODE_BATCH = 500


@dataclass(frozen=True)
class PublicTask(Task):
    """Learn a public model from public images; ``data`` is the key of that part alone."""

    key: str
    data: str
    model: Component
    seed: int
    stage: ClassVar[str] = "public"
    plural: ClassVar[str] = "public models"

    def reads(self) -> Sequence[ArtifactId]:
        return [part_id(self.data)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        images = load_part(store, self.data).images
        model = _public_model(self.model, images.shape[1:])
        model.fit(images, context)
        state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
        require_finite(state.values(), f"public model {self.model.name!r}")
        share = unexplained(model.eval(), images, context.device)
        meta = {
            "model": self.model.name,
            "image_shape": list(images.shape[1:]),
            "unexplained": share,
            "warning": judge_public_model(share),
        }
        store.save(self.stage, self.key, Artifact(meta, state))
        return {}


def _public_model(component: Component, image_shape: Iterable[int]) -> PublicModel:
    """Make an untrained public model of images ``(C, H, W)``."""
    cls = plugins.registry().get("public", component.plugin).cls
    model: PublicModel = cls(cls.Params.model_validate(component.params), tuple(image_shape))
    return model


@functools.lru_cache(maxsize=4)
def load_public_model(
    store: Store, key: str, component: Component, device: torch.device
) -> PublicModel:
    """Restore a fitted public model, frozen and in evaluation mode."""
    artifact = store.load("public", key)
    return public_model_of(artifact.tensors, component, artifact.meta["image_shape"]).to(device)


def public_model_of(
    state: dict[str, Tensor], component: Component, image_shape: Iterable[int]
) -> PublicModel:
    """Make a public model of its state, frozen and in evaluation mode."""
    model = _public_model(component, image_shape)
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


@torch.inference_mode()
def decode(model: PublicModel, z: Tensor, device: torch.device) -> Tensor:
    """Decode latents ``[N, d]`` to ``uint8`` images on the CPU, in batches."""
    parts = z.split(DECODE_BATCH)
    return torch.cat([to_uint8(model.decode(part.to(device))).cpu() for part in parts])


def require_finite(tensors: Iterable[Tensor], what: str) -> None:
    """Refuse NaN and infinity, naming ``what`` holds them."""
    if not all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point()):
        raise DpbenchError(f"{what} holds NaN or infinity: lower its learning rate")

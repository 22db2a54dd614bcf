"""How much decoded images are sharpened: as much as decoded public images ask for.

Decoders blur, and score as blurred. An unsharp mask gives back what a blur took away. Its amount
is that with which small patches of decoded public images, as Gaussians, come nearest to those of
the images themselves: public data alone decide, and no generator has a part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from dpbench import plugins
from dpbench.api import Context, Extractor, PublicModel, to_float, to_uint8
from dpbench.component import Component
from dpbench.errors import DpbenchError
from dpbench.metrics.frechet import Moments, frechet_distance
from dpbench.stages.data import load_part, part_id
from dpbench.stages.public import DECODE_BATCH, load_public_model, require_finite
from dpbench.stages.task import Task
from dpbench.store import Artifact, ArtifactId, Store

__all__ = ["SharpnessTask", "amount_of", "best_amount", "render", "sharpened"]

#: Public images that are compared with what is decoded of them.
COMPARED = 2000
#: The blur whose loss is made up for: standard deviation and reach, in pixels.
BLUR, REACH = 0.7, 2
#: Side of a patch in pixels, and about how many there are along an image's side.
PATCH, ALONG = 7, 8
#: The most that is asked for; an amount of 1 adds once what the blur takes away.
MOST = 4.0
#: Share of the distance that sharpening must take away; less may be rounding.
LEAST_GAIN = 1e-3
#: Pixels of all images that are sharpened at once, which bounds the memory.
AT_ONCE = 2**22


@dataclass(frozen=True)
class SharpnessTask(Task):
    """Find the amount for images decoded by ``model`` of latents that ``extractor`` finds.

    ``images`` is the key of the public images, ``public`` that of the fitted model.
    """

    key: str
    images: str
    public: str
    model: Component
    extractor: Component
    seed: int
    stage: ClassVar[str] = "sharpness"
    plural: ClassVar[str] = "amounts of sharpening"

    def reads(self) -> Sequence[ArtifactId]:
        return [part_id(self.images), ArtifactId("public", self.public)]

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        model = load_public_model(store, self.public, self.model, context.device)
        images = load_part(store, self.images).images
        rows = torch.randperm(len(images), generator=context.generator("compared"))[:COMPARED]
        cls = plugins.registry().get("extractor", self.extractor.plugin).cls
        extractor: Extractor = cls(cls.Params.model_validate(self.extractor.params))
        latents = extractor.extract(model, images[rows], context).detach().float().cpu()
        if latents.shape != (len(rows), model.latent_dim):
            raise DpbenchError(
                f"extractor {self.extractor.name!r} returned shape {tuple(latents.shape)} instead "
                f"of {(len(rows), model.latent_dim)} for public images: return one latent per image"
            )
        require_finite([latents], f"extractor {self.extractor.name!r}")
        decoded = _decoded(model, latents, context.device)
        require_finite([decoded], f"an image decoded by public model {self.model.name!r}")
        amount = best_amount(decoded, to_float(images[rows]))
        store.save(self.stage, self.key, Artifact({"amount": amount}, {}))
        return {}


def amount_of(store: Store, key: str | None) -> float:
    """Return the amount that a task found; 0 where there was none to find one."""
    return 0.0 if key is None else float(store.meta("sharpness", key)["amount"])


def best_amount(decoded: Tensor, images: Tensor) -> float:
    """Return the amount in [0, 4] with which ``decoded`` has patches most like ``images``.

    Both are float images ``[N, C, H, W]`` in [0, 1]. Patches of up to 7 by 7 pixels are likened
    by the Fréchet distance between Gaussians fitted to them. 0 where sharpening brings nothing.
    """
    from scipy.optimize import minimize_scalar

    real = _patch_moments(images, 0.0)
    if real.count < 2:
        return 0.0
    wanted = real.statistics()

    def distance(amount: float) -> float:
        return frechet_distance(_patch_moments(decoded, amount).statistics(), wanted)

    found = minimize_scalar(
        distance, bounds=(0, MOST), method="bounded", options={"xatol": MOST / 200}
    )
    return round(float(found.x), 2) if found.fun < (1 - LEAST_GAIN) * distance(0) else 0.0


def sharpened(images: Tensor, amount: float) -> Tensor:
    """Add ``amount`` times what a blur of 0.7 pixels takes away; images stay in [0, 1]."""
    if amount == 0:
        return images
    return (images + amount * (images - _blurred(images))).clamp(0, 1)


@torch.inference_mode()
def render(model: PublicModel, z: Tensor, device: torch.device, amount: float) -> Tensor:
    """Decode latents ``[N, d]``, sharpened by ``amount``, to ``uint8`` images on the CPU.

    As :func:`~dpbench.stages.public.decode`, which the making of latents keeps to.
    """
    parts = z.split(DECODE_BATCH)
    images = (sharpened(model.decode(part.to(device)), amount) for part in parts)
    return torch.cat([to_uint8(part).cpu() for part in images])


@torch.inference_mode()
def _decoded(model: PublicModel, z: Tensor, device: torch.device) -> Tensor:
    return torch.cat([model.decode(part.to(device)).cpu() for part in z.split(DECODE_BATCH)])


def _blurred(images: Tensor) -> Tensor:
    from torchvision.transforms.functional import gaussian_blur

    # reflection at the border needs a wider image than the blur reaches
    height, width = (2 * min(REACH, side - 1) + 1 for side in images.shape[-2:])
    blurred: Tensor = gaussian_blur(images, [width, height], [BLUR, BLUR])
    return blurred


def _patch_moments(images: Tensor, amount: float) -> Moments:
    """Gather patches from all over the sharpened images, all channels together."""
    channels, height, width = images.shape[1:]
    patch = min(PATCH, height), min(PATCH, width)
    stride = max(1, (min(height, width) - PATCH) // (ALONG - 1))
    moments = Moments.empty(channels * patch[0] * patch[1])
    for part in images.split(max(1, AT_ONCE // images[0].numel())):
        patches = F.unfold(sharpened(part, amount), patch, stride=stride)
        moments.add(patches.transpose(1, 2).flatten(0, 1))
    return moments

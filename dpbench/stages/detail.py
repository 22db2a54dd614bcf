"""Sharpening: decoded images get fine detail that stands to coarse detail as in public images.

Decoders blur, and score as blurred; how much depends on what they decode. But how strong fine
detail is where coarse detail is strong hardly depends on what an image shows (so texture
synthesis matches statistics of bands: Heeger & Bergen 1995, Portilla & Simoncelli 2000). So two
fine bands of decoded images are raised, by a factor that depends on the strength of the next
coarser one in the same place, until they are on average as strong as those of public images.
The factors follow from public images and from what is decoded, which is post-processing.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from dpbench.api import PublicModel, to_float, to_uint8
from dpbench.stages.public import DECODE_BATCH, require_finite

__all__ = ["detail_gains", "found_gains", "raised", "render", "sharpened"]

#: Standard deviations of the blurs between bands, in pixels; each blurs what the last one left.
BLURS = (0.7, 1.4, 2.8)
#: Strengths that are told apart, as equal steps of their roots.
LEVELS = 64
#: Pixels with which the mean of a strength is believed.
LEAST = 200
#: A band's mean strength below which there may be nothing but rounding.
FAINT = 1e-6
#: A factor is at least 1, for sharpening never blurs, and at most this.
MOST = 3.0
#: How often factors are corrected by what they bring about.
ROUNDS = 6
#: Images that are compared, and values that they have together.
COMPARED, VALUES = 2000, 2**23
#: Values that are sharpened at once, which bounds the memory.
AT_ONCE = 2**22


@torch.inference_mode()
def found_gains(
    model: PublicModel, z: Tensor, images: Tensor, rng: torch.Generator, device: torch.device
) -> tuple[Tensor, float]:
    """Return the factors for what ``model`` decodes of latents ``z`` ``[N, d]``, and their effect.

    ``images`` are the public ones, ``uint8`` ``[M, C, H, W]``; 2,000 of either are compared, fewer
    where they are large. The effect is by how much the finest detail gets stronger.
    """
    most = max(1, min(COMPARED, VALUES // max(1, images.shape[1:].numel())))
    latents, shown = (rows[torch.randperm(len(rows), generator=rng)[:most]] for rows in (z, images))
    parts = latents.split(DECODE_BATCH)
    decoded = torch.cat([model.decode(part.to(device)).float().cpu() for part in parts])
    require_finite([decoded], "an image decoded by the public model")
    gains = detail_gains(decoded, to_float(shown))
    return gains, raised(gains, decoded)


@torch.inference_mode()
def render(
    model: PublicModel, z: Tensor, device: torch.device, gains: Tensor | None = None
) -> Tensor:
    """Decode latents ``[N, d]``, sharpened if there are ``gains``, to ``uint8`` on the CPU.

    As :func:`~dpbench.stages.public.decode`, which the making of latents keeps to.
    """
    factors = None if gains is None else gains.to(device)
    images = []
    for part in z.split(DECODE_BATCH):
        decoded = model.decode(part.to(device))
        images.append(to_uint8(decoded if factors is None else sharpened(decoded, factors)).cpu())
    return torch.cat(images)


def detail_gains(decoded: Tensor, images: Tensor) -> Tensor:
    """Return factors ``[2, 64]`` that raise details of ``decoded`` to those of ``images``.

    Both are float images ``[N, C, H, W]`` in [0, 1]. The first row is for the finest band; a
    column stands for a strength s of the next coarser one, by ``floor(63 sqrt(s))``.
    """
    gains = torch.ones(len(BLURS) - 1, LEVELS, device=decoded.device)
    wanted = _strengths(images)
    for _ in range(ROUNDS):
        gains *= _ratios(_strengths(sharpened(decoded, gains)), wanted)
        gains.clamp_(1, MOST)
    return gains


def sharpened(images: Tensor, gains: Tensor) -> Tensor:
    """Raise the details of float images ``[N, C, H, W]`` by ``gains``; they stay in [0, 1]."""
    at_once = max(1, AT_ONCE // max(1, images.shape[1:].numel()))
    return torch.cat([_sharpened(part, gains) for part in images.split(at_once)])


def _sharpened(images: Tensor, gains: Tensor) -> Tensor:
    bands = _bands(images)
    detailed = images.clone()
    for factors, fine, coarse in zip(gains, bands, bands[1:], strict=False):
        detailed += (factors[_level(coarse)] - 1) * fine
    return detailed.clamp_(0, 1)


def raised(gains: Tensor, decoded: Tensor) -> float:
    """Return how many times as strong ``gains`` make the finest detail of ``decoded``."""
    before, after = (_bands(x)[0].abs().mean() for x in (decoded, sharpened(decoded, gains)))
    return float(after / before) if before > 0 else 1.0


def _bands(images: Tensor) -> list[Tensor]:
    """Return what each blur takes away, the finest first."""
    bands = []
    for deviation in BLURS:
        blurred = _blurred(images, deviation)
        bands.append(images - blurred)
        images = blurred
    return bands


def _blurred(images: Tensor, deviation: float) -> Tensor:
    """Blur by a Gaussian; at the border its weights are shared out among what there is."""
    down, across = (_weights(side, deviation, images) for side in images.shape[-2:])
    return down @ images @ across.T


def _weights(side: int, deviation: float, like: Tensor) -> Tensor:
    place = torch.arange(side, dtype=like.dtype, device=like.device)
    return torch.softmax(-((place[:, None] - place) ** 2) / (2 * deviation**2), 1)


def _level(band: Tensor) -> Tensor:
    return (band.abs().sqrt_() * (LEVELS - 1)).long().clamp_(0, LEVELS - 1)


def _strengths(images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the mean strength of each fine band by the level of the next, with the pixels."""
    bands = _bands(images)
    found = []
    for fine, coarse in pairwise(bands):
        level = _level(coarse).flatten()
        count = torch.bincount(level, minlength=LEVELS)
        total = torch.bincount(level, fine.abs().flatten().double(), minlength=LEVELS)
        found.append((total / count.clamp_min(1), count))
    return found


def _ratios(found: list[tuple[Tensor, Tensor]], wanted: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return wanted over found strengths; where pixels are few, that of the next lower level."""
    rows = []
    for (mean, count), (goal, pixels) in zip(found, wanted, strict=True):
        believed = (count >= LEAST) & (pixels >= LEAST) & (mean > FAINT)
        ratio = torch.where(believed, goal / mean.clamp_min(FAINT), 1.0)
        levels = torch.arange(LEVELS, device=ratio.device)
        last = torch.where(believed, levels, 0).cummax(0).values
        rows.append(ratio[last])
    return torch.stack(rows).float()

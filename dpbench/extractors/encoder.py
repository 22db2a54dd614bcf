"""Latents straight from the public model's encoder."""

from __future__ import annotations

import torch
from torch import Tensor

from dpbench.api import Context, Extractor, Params, PublicModel, to_float

__all__ = ["EncoderExtractor"]

BATCH = 1000


class EncoderExtractor(Extractor):
    """``z = encode(x)`` (the paper's *enc*)."""

    name = "encoder"
    label = "enc"
    requires = frozenset({"encode"})
    Params = Params
    cost = 5.0

    @torch.inference_mode()
    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        parts = []
        for part in images.split(BATCH):
            parts.append(model.encode(to_float(part.to(context.device))).cpu())
            context.progress(sum(map(len, parts)), len(images))
        return torch.cat(parts)

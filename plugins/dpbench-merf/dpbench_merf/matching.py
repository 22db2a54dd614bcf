"""Matching a mean embedding: what follows the release, and costs no privacy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dpbench.api import Context
from dpbench_merf.features import FourierFeatures

if TYPE_CHECKING:
    from dpbench_merf import MERFParams

__all__ = ["match"]


def match(
    net: nn.Sequential,
    features: FourierFeatures,
    target: Tensor,
    params: MERFParams,
    context: Context,
) -> None:
    """Train ``net`` until what it makes of N(0, I) has mean features ``target``.

    The squared distance of mean embeddings (Harder et al. 2021, equation 8) is estimated
    from two independent halves of a batch: the square of one mean would be too large by the
    spread of a single sample, and reward samples that are all alike.
    """
    rng = context.generator("noise", context.device)
    dim = features.waves.shape[0]
    optimiser = torch.optim.Adam(net.parameters(), params.learning_rate, (0.9, 0.99))
    for step in range(params.steps):
        for group in optimiser.param_groups:
            group["lr"] = params.learning_rate * (1 - step / params.steps)
        noise = torch.randn(2 * (params.batch // 2), dim, generator=rng, device=context.device)
        first, second = features(noise + net(noise)).chunk(2)
        loss = (first.mean(0) - target) @ (second.mean(0) - target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step % 50 == 0:
            context.progress(step, params.steps)

"""Small pieces that the training loops of public models share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dpbench.api import Context, derive_seed

__all__ = ["average_into", "initialise", "robust_error", "warm_cosine"]


def warm_cosine(step: int, steps: int, warm_up: int = 100) -> float:
    """Return the share of the peak learning rate: a linear rise, then half a cosine to 0."""
    return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))


def robust_error(images: Tensor, targets: Tensor, knee: float = 0.1) -> Tensor:
    """Charbonnier error: quadratic below ``knee``, linear above; a sum per image, then a mean.

    Its linear tails let a decoder commit to sharp strokes where a squared error blurs them.
    """
    error: Tensor = ((images - targets).square() + knee * knee).sqrt().sub(knee).sum()
    return error / len(images)


@torch.no_grad()
def average_into(average: nn.Module, module: nn.Module, step: int, decay: float) -> None:
    """Move ``average`` towards ``module``; early steps decay faster, by ``step / (step + 10)``."""
    weight = 1 - min(decay, step / (step + 10))
    for slow, fast in zip(average.parameters(), module.parameters(), strict=True):
        slow.lerp_(fast, weight)


@torch.no_grad()
def initialise(module: nn.Module, context: Context) -> None:
    """Give every layer torch's default initial weights, from the stage's own seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(context.seed, "initial weights"))
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()

"""The autoencoder and the loss by which it learns."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from dpbench.api.privacy import PerSampleLoss

__all__ = ["Autoencoder", "reconstruction_error", "start"]


class Autoencoder(nn.Sequential):
    """Latents ``[B, d]`` through a ``code`` of few numbers, and back; one hidden layer each way."""

    def __init__(self, dim: int, hidden: int, code: int) -> None:
        widths = (dim, hidden, code, hidden, dim)
        linear = [nn.utils.skip_init(nn.Linear, a, b) for a, b in itertools.pairwise(widths)]
        first, second, third, last = linear
        super().__init__(first, nn.SiLU(), second, third, nn.SiLU(), last)


def reconstruction_error(deviation: float) -> PerSampleLoss:
    """Return a denoising autoencoder's loss (Vincent et al. 2010), one a sample.

    A row is a latent and as many standard normal numbers, ``[B, 2 d]``. Its loss is the
    squared error, averaged over coordinates, with which the latent comes back when noise of
    ``deviation`` was added to it.
    """

    def loss(net: nn.Module, rows: Tensor) -> Tensor:
        latents, noise = rows.chunk(2, 1)
        return (net(latents + deviation * noise) - latents).square().mean(1)

    return loss


@torch.no_grad()
def start(net: nn.Module, rng: torch.Generator) -> None:
    """Draw weights from ``rng`` alone; biases are zero."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.normal_(0, layer.in_features**-0.5, generator=rng)
            layer.bias.zero_()

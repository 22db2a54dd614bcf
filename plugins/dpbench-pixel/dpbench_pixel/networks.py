"""Generator and critic: small convolutional networks for images of any size."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Critic", "Generator", "guess_shape", "start"]

Shape = tuple[int, int, int]


def guess_shape(size: int) -> Shape:
    """Return ``(C, H, W)`` of ``size`` pixels: square if that can be, grey or else coloured.

    >>> guess_shape(784), guess_shape(3072), guess_shape(8)
    ((1, 28, 28), (3, 32, 32), (1, 2, 4))
    """
    for channels in (1, 3):
        side = math.isqrt(size // channels)
        if channels * side * side == size:
            return channels, side, side
    height = next(h for h in range(math.isqrt(size), 0, -1) if size % h == 0)
    return 1, height, size // height


class Critic(nn.Module):
    """Two convolutions of stride 2 and a linear layer: flat images to one logit each, ``[B]``."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        self.shape = shape
        rows, columns = (-(-side // 4) for side in shape[1:])
        self.first = nn.Conv2d(shape[0], width, 5, stride=2, padding=2)
        self.second = nn.Conv2d(width, 2 * width, 5, stride=2, padding=2)
        self.last = nn.Linear(2 * width * rows * columns, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Judge ``x`` ``[B, C * H * W]``."""
        x = F.leaky_relu(self.first(x.unflatten(1, self.shape)), 0.2)
        x = F.leaky_relu(self.second(x), 0.2)
        logits: Tensor = self.last(x.flatten(1)).squeeze(1)
        return logits


class Generator(nn.Module):
    """A linear layer and two convolutions after doubling: noise to flat images.

    What it makes lies between ``low`` and ``high``, the least and the greatest pixel of
    public images.
    """

    low: Tensor
    high: Tensor

    def __init__(self, shape: Shape, latent: int, width: int) -> None:
        super().__init__()
        self.shape, self.latent = shape, latent
        self.rows, self.columns = (-(-side // 4) for side in shape[1:])
        self.first = nn.Linear(latent, 4 * width * self.rows * self.columns)
        self.second = nn.Conv2d(4 * width, 2 * width, 3, padding=1)
        self.third = nn.Conv2d(2 * width, width, 3, padding=1)
        self.last = nn.Conv2d(width, shape[0], 3, padding=1)
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.ones(()))

    def forward(self, z: Tensor) -> Tensor:
        """Map ``z`` ``[B, latent]`` to ``[B, C * H * W]``."""
        x = F.leaky_relu(self.first(z), 0.2).unflatten(1, (-1, self.rows, self.columns))
        for layer in (self.second, self.third):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = F.leaky_relu(layer(x), 0.2)
        x = self.last(x[:, :, : self.shape[1], : self.shape[2]]).flatten(1)
        return self.low + (self.high - self.low) * x.sigmoid()


@torch.no_grad()
def start(net: nn.Module, rng: torch.Generator) -> None:
    """Draw weights from ``rng`` alone (He et al. 2015); biases are zero."""
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            fan = layer.weight[0].numel()
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=rng) * (2 / fan) ** 0.5)
            if layer.bias is not None:
                layer.bias.zero_()

"""Generator and discriminators: small dense networks on latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Discriminator", "Generator", "looks_real", "start"]


class Discriminator(nn.Sequential):
    """One hidden layer: latents ``[B, d]`` to a logit each, ``[B, 1]``; above 0 is real."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(
            nn.utils.skip_init(nn.Linear, dim, hidden),
            nn.LeakyReLU(0.2),
            nn.utils.skip_init(nn.Linear, hidden, 1),
        )


class Generator(nn.Module):
    """Adds to its input, N(0, I), and starts at zero: as the public latents' distribution."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.utils.skip_init(nn.Linear, dim, hidden),
            nn.SiLU(),
            nn.utils.skip_init(nn.Linear, hidden, hidden),
            nn.SiLU(),
            nn.utils.skip_init(nn.Linear, hidden, dim),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Map ``noise`` ``[B, d]`` to latents ``[B, d]``."""
        made: Tensor = noise + self.body(noise)
        return made


def looks_real(logits: Tensor, labels: Tensor | float) -> Tensor:
    """Return the mean cross-entropy of ``logits`` against ``labels`` in ``[0, 1]``."""
    wanted = torch.as_tensor(labels, dtype=logits.dtype, device=logits.device).expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, wanted)


@torch.no_grad()
def start(net: nn.Module, rng: torch.Generator) -> None:
    """Draw weights from ``rng`` alone; biases are zero, and so is the last layer."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        layer.weight.normal_(0, layer.in_features**-0.5, generator=rng)
        layer.bias.zero_()
    layers[-1].weight.zero_()

"""DP-MERF on latents: one noisy mean of random Fourier features, then free training.

Harder, Adamczewski and Park 2021, "DP-MERF: Differentially private mean embeddings with
random features for practical privacy-preserving data generation" (AISTATS).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.api.privacy import PrivateLatents
from dpbench_merf.features import FourierFeatures, frequencies
from dpbench_merf.matching import match

__all__ = ["MERF", "MERFParams", "register_generators"]


class MERFParams(Params):
    """Hyperparameters; the table ``[generators.merf]`` of benchmarks.toml sets them."""

    features: int = Field(2000, ge=2, description="random frequencies, a cosine and a sine each")
    scales: tuple[float, ...] = Field(
        (1.0, 0.5), min_length=1, description="kernel widths, in median distances of public latents"
    )
    hidden: tuple[int, ...] = Field((256, 256), min_length=1, description="widths of the network")
    batch: int = Field(1000, ge=2, description="generated latents in a step")
    steps: int = Field(1500, ge=1, description="steps of Adam; they cost no privacy")
    learning_rate: float = Field(2e-3, gt=0, description="Adam's, falling to zero")


class MERF(PrivateGenerator):
    """A network whose samples have the private latents' noisy mean embedding.

    It adds to its input, N(0, I), and starts at zero: as the distribution of public
    latents. The trial's clip changes nothing: a record's features have norm 1.
    """

    name = "merf"
    label = "MERF"
    version = "0.1.0"
    Params: ClassVar[type[Params]] = MERFParams
    cost = 60.0
    params: MERFParams

    def __init__(self, params: MERFParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.net = network(latent_dim, params.hidden)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Release the mean embedding with all of the budget, then match it."""
        rng = context.generator("frequencies")
        waves = frequencies(public, self.params.features, self.params.scales, rng)
        features = FourierFeatures(waves.to(context.device))
        target = self.release(private, features)
        start(self.net, context.generator("init"))
        self.net.to(context.device)
        match(self.net, features, target, self.params, context)
        self.net.to("cpu")

    def release(self, private: PrivateLatents, features: FourierFeatures) -> Tensor:
        """Release the private latents' mean features, ``[2 * features]``."""
        noise = private.noise_multiplier(sampling_rate=1.0, steps=1)
        total = private.release_sum(
            features, clip=1.0, noise_multiplier=noise, name="mean-embedding"
        )
        return total / private.size

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Push ``count`` draws of N(0, I) through the network, ``[count, d]``."""
        noise = torch.randn(count, self.latent_dim, generator=rng)
        made: Tensor = noise + self.net(noise)
        return made

    def state(self) -> dict[str, Tensor]:
        """Return the network's parameters."""
        return {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.net.load_state_dict(state)


def network(dim: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Return layers of ``hidden`` widths from and to ``dim``; :func:`start` sets them."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip((dim, *hidden[:-1]), hidden, strict=True):
        layers += [nn.utils.skip_init(nn.Linear, inputs, outputs), nn.SiLU()]
    return nn.Sequential(*layers, nn.utils.skip_init(nn.Linear, hidden[-1], dim))


@torch.no_grad()
def start(net: nn.Sequential, rng: torch.Generator) -> None:
    """Draw the layers from ``rng`` alone; the last is zero."""
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    for layer in linear:
        layer.weight.normal_(0, layer.in_features**-0.5, generator=rng)
        layer.bias.zero_()
    linear[-1].weight.zero_()


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(MERF)

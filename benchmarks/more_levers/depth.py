"""A VAE with two layers of codes, by the simple way: one trial at a time, an ordinary module."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn

from dpbench import hookimpl
from dpbench.api import Context, PrivateGenerator
from dpbench.generators.schedule import (
    StepParams,
    automatic_rate,
    lane_rates,
    schedule_for,
)
from dpbench.privacy.dp_sgd import PrivateGradient
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.lane_optim import LaneAverage

_LOG_VARIANCE = (-10.0, 4.0)


class TwoLayerParams(StepParams):
    """Hyperparameters of the hierarchical VAE; ``None`` stands for what the VAE's default is.

    ``latent`` is the size of the lower code (a quarter of d), ``upper`` of the upper (half
    of that); ``noise_scale`` is where the output's learned deviation starts.
    """

    hidden: int = Field(128, ge=1)
    latent: int | None = Field(None, ge=1)
    upper: int | None = Field(None, ge=1)
    noise_scale: float = Field(0.6, gt=0)
    weight_decay: float = Field(1e-5, ge=0)


def _mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, outputs))


class TwoLayerNet(nn.Module):
    """x, its code z and the code's code z2.

    The encoder is ``q(z|x) q(z2|z)``, the model ``p(z2) p(z|z2) p(x|z)``; all are diagonal
    Gaussians, and p(z2) is N(0, I). The output's deviation is one number a dimension,
    learned. The loss is ``noise^2`` times the negative evidence lower bound with one draw of
    both codes, up to a constant (Sonderby et al. 2016, without their ladder).
    """

    def __init__(self, dim: int, latent: int, upper: int, hidden: int, noise: float) -> None:
        super().__init__()
        self.dim, self.latent, self.upper, self.noise = dim, latent, upper, noise
        self.encoder = _mlp(dim, hidden, 2 * latent)
        self.upper_encoder = _mlp(latent, hidden, 2 * upper)
        self.upper_decoder = _mlp(upper, hidden, 2 * latent)
        self.decoder = _mlp(latent, hidden, dim)
        self.scale = nn.Parameter(torch.zeros(dim))

    def forward(self, batch: Tensor) -> Tensor:
        """Map rows and their noise ``[B, d + latent + upper]`` to losses ``[B]``."""
        x, noise, noise2 = batch.split([self.dim, self.latent, self.upper], -1)
        mean, log_var = _gaussian(self.encoder(x))
        z = mean + (0.5 * log_var).exp() * noise
        mean2, log_var2 = _gaussian(self.upper_encoder(z))
        z2 = mean2 + (0.5 * log_var2).exp() * noise2
        prior_mean, prior_log_var = _gaussian(self.upper_decoder(z2))
        off = (self.decoder(z) - x).square() * (-2 * self.scale).exp()
        fit = (0.5 * off + self.noise**2 * self.scale).sum(-1)
        lower = _log_density(z, mean, log_var) - _log_density(z, prior_mean, prior_log_var)
        upper = 0.5 * (mean2.square() + log_var2.exp() - 1 - log_var2).sum(-1)
        loss: Tensor = fit + self.noise**2 * (lower + upper)
        return loss

    def draw(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ``[count, d]``."""
        z2 = torch.randn(count, self.upper, generator=rng)
        mean, log_var = _gaussian(self.upper_decoder(z2))
        z = mean + (0.5 * log_var).exp() * torch.randn(count, self.latent, generator=rng)
        scale = self.noise * self.scale.exp()
        made: Tensor = self.decoder(z) + scale * torch.randn(count, self.dim, generator=rng)
        return made


def _gaussian(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Split a network's outputs into mean and log-variance."""
    mean, log_var = outputs.chunk(2, -1)
    return mean, log_var.clamp(*_LOG_VARIANCE)


def _log_density(z: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Return the log-density of diagonal Gaussians, ``[B]``, up to a constant."""
    return -0.5 * (log_var + (z - mean).square() * (-log_var).exp()).sum(-1)


class TwoLayerVAE(PrivateGenerator):
    """The VAE with a second layer of codes in place of modes."""

    name = "vae-two-layers"
    label = "VAE-two-layers"
    version = "0.1.0"
    Params = TwoLayerParams
    params: TwoLayerParams

    def __init__(self, params: TwoLayerParams, latent_dim: int, classes: int = 1) -> None:
        super().__init__(params, latent_dim, classes)
        latent = params.latent or max(1, latent_dim // 4)
        upper = params.upper or max(1, latent // 2)
        self.net = TwoLayerNet(latent_dim, latent, upper, params.hidden, params.noise_scale)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Train by DP-SGD, with the default VAE's batch, steps, rates and averaging."""
        p, net = self.params, self.net
        self._initialise(context.generator("init"))
        schedule = schedule_for(p, private, 1024, 100, 1500)
        gradient = PrivateGradient(
            private,
            net,
            lambda module, batch: module(batch),
            sampling_rate=schedule.sampling_rate,
            steps=schedule.steps,
            randomness=net.latent + net.upper,
        )
        adam = torch.optim.Adam(net.parameters(), betas=p.betas, weight_decay=p.weight_decay)
        average = LaneAverage(self._flat())
        for step in range(schedule.steps):
            (rate,) = lane_rates(p, [schedule], step, lambda s: automatic_rate(s, 1e-2, 2e-2))
            adam.param_groups[0]["lr"] = rate
            gradient.step()
            adam.step()
            average.blend(self._flat(), average.weight())
            if step % 50 == 0:
                context.progress(step, schedule.steps)
        if p.average:
            nn.utils.vector_to_parameters(average.flat[0], net.parameters())

    def _initialise(self, rng: torch.Generator) -> None:
        """Draw as ``torch.nn.Linear`` does, from the trial's own stream."""
        with torch.no_grad():
            for layer in self.net.modules():
                if isinstance(layer, nn.Linear):
                    bound = 1 / math.sqrt(layer.in_features)
                    layer.weight.uniform_(-bound, bound, generator=rng)
                    layer.bias.uniform_(-bound, bound, generator=rng)

    def _flat(self) -> Tensor:
        return nn.utils.parameters_to_vector(self.net.parameters()).detach()[None]

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw both codes from the prior, and decode with the output's noise."""
        return self.net.draw(count, rng)

    def state(self) -> dict[str, Tensor]:
        """Return the network's parameters."""
        return dict(self.net.state_dict())

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.net.load_state_dict(state)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench for each file that ``--plugin`` names."""
    register(TwoLayerVAE)

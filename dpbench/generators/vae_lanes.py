"""The variational autoencoder of many lanes: forward, written-out backward, training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dpbench.privacy.lane_nets import Activation, LaneBuffer, LaneMLP, LinearTrace
from dpbench.privacy.reference import LinearStack

__all__ = ["VAEModule", "VAENet"]

_LOG_VARIANCE = (-10.0, 4.0)


@dataclass(frozen=True)
class VAENet:
    """Encoder and decoder over one buffer, and the loss between them.

    The loss per sample is ``0.5 |x - x'|^2 + weight * KL``. With ``skip`` = a > 0
    encoder and decoder start as the exact linear-Gaussian model
    ``x = a z + sqrt(1 - a^2) noise`` of N(0, I), and networks learn what
    deviates from it. ``extra`` columns after the first ``dim`` of the input
    are a condition both networks see.
    """

    dim: int
    latent: int
    hidden: tuple[int, ...]
    activation: Activation
    skip: float = 0.0
    extra: int = 0

    @property
    def encoder(self) -> LaneMLP:
        sizes = (self.dim + self.extra, *self.hidden, 2 * self.latent)
        return LaneMLP(sizes, self.activation)

    @property
    def decoder(self) -> LaneMLP:
        sizes = (self.latent + self.extra, *reversed(self.hidden), self.dim)
        return LaneMLP(sizes, self.activation, first=len(self.hidden) + 1)

    @property
    def layers(self) -> list[tuple[int, int]]:
        return self.encoder.layers + self.decoder.layers

    def initial(self, generators: Sequence[torch.Generator], device: torch.device) -> LaneBuffer:
        """Draw fresh parameters, one generator per lane."""
        buffer = LaneBuffer.zeros(self.layers, len(generators), device)
        buffer.initialise(generators)
        if self.skip:
            for last in (len(self.hidden), len(self.layers) - 1):
                buffer.weights[last].zero_()
                buffer.biases[last].zero_()
        return buffer

    def traces(
        self,
        params: LaneBuffer,
        batch: Tensor,
        kl_weight: float | Tensor,
        draw: Callable[[Tensor], Tensor],
    ) -> list[LinearTrace]:
        """Return all layers' inputs and per-sample gradients of the loss.

        ``draw`` fills a tensor ``[A, B, latent]`` with standard normal noise.
        """
        x, k = batch[..., : self.dim], self.latent
        encoder, decoder = self.encoder, self.decoder
        seen = encoder.forward(params, batch)
        mean, log_variance = seen.output.split(k, -1)
        if self.skip:
            mean = mean + self.skip * x
            log_variance = log_variance + math.log(1 - self.skip**2)
        low, high = _LOG_VARIANCE
        inside = ((log_variance > low) & (log_variance < high)).to(x.dtype)
        log_variance = log_variance.clamp(low, high)
        deviation = draw(torch.empty_like(mean)).mul_((0.5 * log_variance).exp_())
        z = mean + deviation
        code = torch.cat([z, batch[..., self.dim :]], -1) if self.extra else z
        made = decoder.forward(params, code)
        error = made.output.add_(z, alpha=self.skip) if self.skip else made.output
        error = error.sub_(x)
        traces, grad = decoder.backward(params, made, error, need_input=True)
        assert grad is not None
        grad_z = grad[..., :k]
        if self.skip:
            grad_z = grad_z.add(error, alpha=self.skip)
        grad_mean = _plus(grad_z, kl_weight, mean)
        grad_log = _plus(deviation.mul_(grad_z), kl_weight, log_variance.exp_().sub_(1))
        grad_log = grad_log.mul_(0.5).mul_(inside)
        lower, _ = encoder.backward(params, seen, torch.cat([grad_mean, grad_log], -1))
        return traces + lower

    def decode(self, params: LaneBuffer, z: Tensor, extra: Tensor) -> Tensor:
        """Map codes ``[A, B, latent]`` to the mean of x, ``[A, B, dim]``."""
        code = torch.cat([z, extra], -1) if self.extra else z
        made = self.decoder.forward(params, code).output
        return made + self.skip * z if self.skip else made


def _plus(base: Tensor, weight: float | Tensor, other: Tensor) -> Tensor:
    """Return ``base + weight * other``; a weight in a tensor may be one of a captured step."""
    if isinstance(weight, Tensor):
        return torch.addcmul(base, other, weight)
    return base.add(other, alpha=weight)


class VAEModule(nn.Module):
    """The same network as an ordinary module, for the reference engine.

    The last ``latent`` columns of a batch are its rows' latent noise.
    """

    def __init__(self, net: VAENet) -> None:
        super().__init__()
        self.net = net
        self.encoder = LinearStack(net.encoder.sizes, net.activation)
        self.decoder = LinearStack(net.decoder.sizes, net.activation)

    @property
    def linears(self) -> list[nn.Linear]:
        """All layers, in the order of the buffer."""
        return [m for m in self.modules() if isinstance(m, nn.Linear)]

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map ``batch`` ``[B, dim + extra + latent]`` to reconstruction, mean, log-variance."""
        net, x = self.net, batch[:, : self.net.dim]
        seen, noise = batch.split([net.dim + net.extra, net.latent], -1)
        mean, log_variance = self.encoder(seen).split(net.latent, -1)
        if net.skip:
            mean = mean + net.skip * x
            log_variance = log_variance + math.log(1 - net.skip**2)
        log_variance = log_variance.clamp(*_LOG_VARIANCE)
        z = mean + (0.5 * log_variance).exp() * noise
        made = self.decoder(torch.cat([z, seen[:, net.dim :]], -1))
        return (made + net.skip * z if net.skip else made), mean, log_variance

    def loss(self, batch: Tensor, module: nn.Module, kl_weight: float | Tensor) -> Tensor:
        """Return ``0.5 |x - x'|^2 + kl_weight * KL`` per sample; ``module`` wraps this one."""
        made, mean, log_variance = module(batch)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
        error = (made - batch[:, : self.net.dim]).square().sum(-1)
        total: Tensor = 0.5 * error + kl_weight * divergence
        return total

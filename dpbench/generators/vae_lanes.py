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
_MODES_APART = 3.0
"""Modes of a learned prior start about so far apart: alike, they would stay so."""


@dataclass(frozen=True)
class VAENet:
    """Encoder and decoder over one buffer, and the loss between them.

    The loss per sample is ``0.5 |x - x'|^2 + weight * KL``. With ``skip`` = a > 0
    encoder and decoder start as the exact linear-Gaussian model
    ``x = a z + sqrt(1 - a^2) noise`` of N(0, I), and networks learn what
    deviates from it. ``extra`` columns after the first ``dim`` of the input
    are a condition both networks see.

    With ``learned`` the output's variance is learned too, one per dimension, and
    starts at ``noise``^2: with s the learned log-scale relative to ``noise`` the first
    term becomes ``0.5 exp(-2 s) (x - x')^2 + noise^2 s``, summed over dimensions
    (``noise``^2 times the Gaussian's negative log-likelihood; Rybkin et al. 2021).

    With ``modes`` = K > 0 the prior over z is learned: the mixture of K Gaussians of
    unit covariance that arises by tilting, ``p(z) = N(z; 0, I) sum_k exp(a_k + w_k z) / Z``,
    with means w_k and weights in proportion to ``exp(a_k + |w_k|^2 / 2)``. Its scores are a
    linear layer of z, and log Z depends on no record, so that its gradient is free.
    """

    dim: int
    latent: int
    hidden: tuple[int, ...]
    activation: Activation
    skip: float = 0.0
    extra: int = 0
    noise: float = 1.0
    learned: bool = False
    modes: int = 0

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
        scale = [(0, self.dim)] if self.learned else []
        tilt = [(self.latent, self.modes)] if self.modes else []
        return self.encoder.layers + self.decoder.layers + scale + tilt

    @property
    def outputs(self) -> tuple[int, int]:
        """The last layers of encoder and decoder."""
        depth = len(self.hidden)
        return depth, 2 * depth + 1

    @property
    def scale_layer(self) -> int:
        return self.outputs[1] + 1

    @property
    def tilt_layer(self) -> int:
        return self.outputs[1] + 1 + self.learned

    def initial(self, generators: Sequence[torch.Generator], device: torch.device) -> LaneBuffer:
        """Draw fresh parameters, one generator per lane."""
        buffer = LaneBuffer.zeros(self.layers, len(generators), device)
        buffer.initialise(generators)
        if self.skip:
            for last in self.outputs:
                buffer.weights[last].zero_()
                buffer.biases[last].zero_()
        if self.learned:
            buffer.biases[self.scale_layer].zero_()
        if self.modes:
            buffer.weights[self.tilt_layer].mul_(_MODES_APART)
            buffer.biases[self.tilt_layer].zero_()
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
        error, own = self._scaled(params, error) if self.learned else (error, [])
        traces, grad = decoder.backward(params, made, error, need_input=True)
        assert grad is not None
        grad_z = grad[..., :k]
        if self.skip:
            grad_z = grad_z.add(error, alpha=self.skip)
        if self.modes:
            shares = -kl_weight * self._logits(params, z).softmax(-1)
            grad_z = grad_z + shares @ params.weights[self.tilt_layer].transpose(1, 2)
            own.append(LinearTrace(self.tilt_layer, z, shares))
        grad_mean = _plus(grad_z, kl_weight, mean)
        grad_log = _plus(deviation.mul_(grad_z), kl_weight, log_variance.exp_().sub_(1))
        grad_log = grad_log.mul_(0.5).mul_(inside)
        lower, _ = encoder.backward(params, seen, torch.cat([grad_mean, grad_log], -1))
        return traces + lower + own

    def _scaled(self, params: LaneBuffer, error: Tensor) -> tuple[Tensor, list[LinearTrace]]:
        """Return the loss's derivative in x', and the trace of the output's log-scale."""
        weighted = error * (-2 * params.biases[self.scale_layer]).exp()
        delta = self.noise**2 - error * weighted
        return weighted, [LinearTrace(self.scale_layer, error[..., :0], delta)]

    def _logits(self, params: LaneBuffer, z: Tensor) -> Tensor:
        return torch.baddbmm(params.biases[self.tilt_layer], z, params.weights[self.tilt_layer])

    def log_weights(self, params: LaneBuffer) -> Tensor:
        """The learned prior's log-weights ``[A, 1, K]``, up to a constant."""
        means = params.weights[self.tilt_layer]
        return params.biases[self.tilt_layer] + 0.5 * means.square().sum(1, keepdim=True)

    def add_normaliser(self, params: LaneBuffer, weight: float | Tensor, out: LaneBuffer) -> None:
        """Add the gradient of ``weight * log Z``, which depends on no record."""
        shares = weight * self.log_weights(params).softmax(-1)
        out.weights[self.tilt_layer].add_(params.weights[self.tilt_layer] * shares)
        out.biases[self.tilt_layer].add_(shares)

    def draw_codes(self, params: LaneBuffer, noise: Tensor, uniform: Tensor) -> Tensor:
        """Turn N(0, I) ``[A, B, latent]`` and uniform ``[A, B, K]`` into draws from the prior."""
        if not self.modes:
            return noise
        gumbel = -(-uniform.clamp(1e-12, 1 - 1e-7).log()).log()
        which = (self.log_weights(params) + gumbel).argmax(-1, keepdim=True)
        means = params.weights[self.tilt_layer].transpose(1, 2)
        return noise + means.gather(1, which.expand(-1, -1, self.latent))

    def output_noise(self, params: LaneBuffer) -> float | Tensor:
        """The output's standard deviation: a number, or ``[A, 1, dim]``."""
        return self.noise * params.biases[self.scale_layer].exp() if self.learned else self.noise

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

"""Autoencoders: the paper's fully connected one, and one that generalises."""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dpbench.api import Context, Params, PublicModel, derive_seed, to_float
from dpbench.augment import Augmentation
from dpbench.public.networks import ConvDecoder, ConvEncoder, DenseDecoder, dense_encoder

__all__ = ["Autoencoder", "AutoencoderParams"]


class AutoencoderParams(Params):
    """Hyperparameters of :class:`Autoencoder`.

    Attributes:
        architecture: ``conv``, or ``fc`` as in the paper (Table 2).
        latent: latent size d.
        width: channels of the first convolution.
        hidden: width of the linear layers beside the convolutions.
        layers: widths of the hidden layers of ``fc``.
        epochs, batch, learning_rate: of Adam; the rate falls to 0 after a short warm-up.
        noise: standard deviation of noise on the latent while training.
        kl: weight of the Kullback-Leibler divergence to N(0, I) against the
            squared error summed over an image; 0 leaves a plain autoencoder.
        betas, weight_decay: Adam's.
        schedule: ``one-cycle`` or ``constant`` (the paper).
        augmentation: maps of the training images; null for none.
    """

    architecture: Literal["conv", "fc"] = "conv"
    latent: int = Field(default=32, ge=1)
    width: int = Field(default=16, ge=1)
    hidden: int = Field(default=256, ge=1)
    layers: tuple[int, ...] = (128,)
    epochs: int = Field(default=24, ge=1)
    batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    noise: float = Field(default=0.1, ge=0)
    kl: float = Field(default=0.0, ge=0)
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    augmentation: Augmentation | None = Augmentation()


class Autoencoder(PublicModel):
    """Squared error through a bottleneck; encodes and decodes, has no prior."""

    name = "ae"
    provides = frozenset({"encode", "decode"})
    Params = AutoencoderParams
    cost = 90.0
    params: AutoencoderParams
    mean: Tensor
    precision: Tensor

    def __init__(self, params: AutoencoderParams, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        self.latent_dim = params.latent
        outputs = params.latent * (2 if params.kl else 1)
        self.encoder: nn.Module
        self.decoder: nn.Module
        if params.architecture == "conv":
            self.encoder = ConvEncoder(image_shape, outputs, params.width, params.hidden)
            self.decoder = ConvDecoder(image_shape, params.latent, params.width, params.hidden)
        else:
            self.encoder = dense_encoder(image_shape, outputs, params.layers)
            self.decoder = DenseDecoder(image_shape, params.latent, params.layers[::-1])
        self.register_buffer("mean", torch.zeros(params.latent))
        self.register_buffer("precision", torch.eye(params.latent))

    def fit(self, images: Tensor, context: Context) -> None:
        params = self.params
        rng = context.generator("training")
        initialise(self, context)
        self.to(context.device).train()
        optimiser = torch.optim.Adam(
            self.parameters(),
            params.learning_rate,
            betas=params.betas,
            weight_decay=params.weight_decay,
        )
        batch = min(params.batch, len(images))
        total = params.epochs * (len(images) // batch)
        step = 0
        for _ in range(params.epochs):
            order = torch.randperm(len(images), generator=rng)
            for chosen in order[: len(images) // batch * batch].split(batch):
                optimiser.param_groups[0]["lr"] = params.learning_rate * self._rate(step / total)
                x = to_float(images[chosen].to(context.device))
                if params.augmentation is not None:
                    x = params.augmentation(x, rng)
                loss = self._loss(x, rng)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                step += 1
                context.progress(step, total)
        self.eval()
        self._measure(images, context)

    def _rate(self, done: float, warm_up: float = 0.05) -> float:
        if self.params.schedule == "constant":
            return 1.0
        if done < warm_up:
            return 0.1 + 0.9 * done / warm_up
        return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))

    def _loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        params, d = self.params, self.latent_dim
        out = self.encoder(x)
        mean = out[:, :d]
        noise = torch.randn(mean.shape, generator=rng).to(mean)
        divergence = torch.zeros((), device=x.device)
        if params.kl:
            log_variance = out[:, d:].clamp(-8, 2)
            z = mean + (0.5 * log_variance).exp() * noise
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        else:
            z = mean + params.noise * noise
        loss: Tensor = (self.decoder(z) - x).square().flatten(1).sum(1).mean()
        return loss + params.kl * divergence

    @torch.no_grad()
    def _measure(self, images: Tensor, context: Context, most: int = 10_000) -> None:
        """Keep mean and precision of public latents, for whoever regularises towards them."""
        parts = images[:most].split(500)
        z = torch.cat([self.encode(to_float(part.to(context.device))) for part in parts])
        covariance = torch.cov(z.double().T)
        ridge = 1e-3 * covariance.diagonal().mean() * torch.eye(self.latent_dim).to(covariance)
        self.mean.copy_(z.mean(0))
        self.precision.copy_(torch.linalg.inv(covariance + ridge))

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        return self.mean, self.precision

    def encode(self, x: Tensor) -> Tensor:
        out: Tensor = self.encoder(x)
        return out[:, : self.latent_dim]

    def decode(self, z: Tensor) -> Tensor:
        out: Tensor = self.decoder(z)
        return out


@torch.no_grad()
def initialise(module: nn.Module, context: Context) -> None:
    """Give every layer torch's default initial weights, from the stage's own generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(context.seed, "initial weights"))
        for layer in module.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                layer.reset_parameters()

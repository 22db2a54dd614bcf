"""Autoencoders: the paper's fully connected one, and one that generalises."""

from __future__ import annotations

import copy
import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from dpbench.api import Context, Params, PublicModel, to_float
from dpbench.augment import Augmentation
from dpbench.public.networks import ConvDecoder, ConvEncoder, DenseDecoder, dense_encoder
from dpbench.public.training import average_into, initialise, robust_error, warm_cosine

__all__ = ["Autoencoder", "AutoencoderParams"]


#: With no ``epochs`` given: as many as make this many updates, within the bounds.
UPDATES = 2000
EPOCHS, MOST_EPOCHS = 14, 400


class AutoencoderParams(Params):
    """Hyperparameters of :class:`Autoencoder`.

    Attributes:
        architecture: ``conv``, or ``fc`` as in the paper (Table 2).
        latent: latent size d.
        width: channels of the first convolution.
        hidden: width of the linear layers beside the convolutions.
        layers: widths of the hidden layers of ``fc``.
        loss: ``robust`` (see :func:`robust_error`) or ``squared``, summed over an image.
        epochs: passes over the images; by default 14, and more where that makes fewer
            than 2,000 updates.
        batch: images in an update.
        learning_rate: Adam's, before the schedule.
        betas: decay of Adam's averages of gradients and of their squares.
        weight_decay: Adam's, a part of the gradient.
        schedule: ``cosine`` to 0 after a warm-up, or ``constant`` (the paper).
        noise: standard deviation of noise on the latent while training.
        prior: weight of half the squared norm of the latent, which keeps it
            from outgrowing the noise.
        average: decay of the moving average of the weights, which is kept; 0 for none.
        augmentation: maps of the training images, or ``"none"``.
    """

    architecture: Literal["conv", "fc"] = "conv"
    latent: int = Field(default=32, ge=1)
    width: int = Field(default=16, ge=1)
    hidden: int = Field(default=256, ge=1)
    layers: tuple[int, ...] = (128,)
    loss: Literal["robust", "squared"] = "robust"
    epochs: int | None = Field(default=None, ge=1)
    batch: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    noise: float = Field(default=0.15, ge=0)
    prior: float = Field(default=0.06, ge=0)
    average: float = Field(default=0.995, ge=0, lt=1)
    augmentation: Augmentation | Literal["none"] = Augmentation()

    def epochs_for(self, updates: int) -> int:
        """Return the number of passes, given how many updates one makes."""
        if self.epochs is not None:
            return self.epochs
        return min(MOST_EPOCHS, max(EPOCHS, math.ceil(UPDATES / updates)))


class Autoencoder(PublicModel):
    """Images through a bottleneck and back; encodes and decodes, has no prior."""

    name = "ae"
    provides = frozenset({"encode", "decode"})
    Params = AutoencoderParams
    cost = 90.0
    params: AutoencoderParams
    mean: Tensor
    precision: Tensor

    def __init__(self, params: AutoencoderParams, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        p = params
        self.latent_dim = p.latent
        self.encoder: nn.Module
        self.decoder: nn.Module
        if p.architecture == "conv":
            self.encoder = ConvEncoder(image_shape, p.latent, p.width, p.hidden)
            self.decoder = ConvDecoder(image_shape, p.latent, p.width, p.hidden)
        else:
            self.encoder = dense_encoder(image_shape, p.latent, p.layers)
            self.decoder = DenseDecoder(image_shape, p.latent, p.layers[::-1])
        self.register_buffer("mean", torch.zeros(p.latent))
        self.register_buffer("precision", torch.eye(p.latent))

    def fit(self, images: Tensor, context: Context) -> None:
        p, rng = self.params, context.generator("training")
        initialise(self, context)
        self.to(context.device).train()
        average = copy.deepcopy(self).requires_grad_(False)
        optimiser = torch.optim.Adam(
            self.parameters(), p.learning_rate, betas=p.betas, weight_decay=p.weight_decay
        )
        batch = min(p.batch, len(images))
        epochs = p.epochs_for(len(images) // batch)
        total, step = epochs * (len(images) // batch), 0
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=rng)
            for chosen in order[: len(images) // batch * batch].split(batch):
                if p.schedule == "cosine":
                    optimiser.param_groups[0]["lr"] = p.learning_rate * warm_cosine(step, total)
                x = to_float(images[chosen].to(context.device))
                if p.augmentation != "none":
                    x = p.augmentation(x, rng)
                loss = self._loss(x, rng)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                average_into(average, self, step, p.average)
                step += 1
                context.progress(step, total)
        self.load_state_dict(average.state_dict())
        self.eval()
        self._measure(images, context)

    def _loss(self, x: Tensor, rng: torch.Generator) -> Tensor:
        p = self.params
        z = self.encode(x)
        noise = p.noise * torch.randn(z.shape, generator=rng).to(z)
        decoded = self.decode(z + noise)
        if p.loss == "robust":
            error = robust_error(decoded, x)
        else:
            error = (decoded - x).square().sum() / len(x)
        return error + 0.5 * p.prior * z.square().sum() / len(x)

    @torch.no_grad()
    def _measure(self, images: Tensor, context: Context, most: int = 10_000) -> None:
        """Keep mean and precision of public latents, for whoever regularises towards them."""
        parts = images[:most].split(500)
        z = torch.cat([self.encode(to_float(part.to(context.device))) for part in parts])
        covariance = torch.atleast_2d(torch.cov(z.double().T))
        least = (1e-3 * covariance.diagonal().mean()).clamp_min(1e-12)  # images may be all alike
        ridge = least * torch.eye(self.latent_dim).to(covariance)
        self.mean.copy_(z.mean(0))
        self.precision.copy_(torch.linalg.inv(covariance + ridge))

    def latent_statistics(self) -> tuple[Tensor, Tensor]:
        return self.mean, self.precision

    def encode(self, x: Tensor) -> Tensor:
        out: Tensor = self.encoder(x)
        return out

    def decode(self, z: Tensor) -> Tensor:
        out: Tensor = self.decoder(z)
        return out

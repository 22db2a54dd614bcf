"""GANs on public images: the paper's Wasserstein ones, and one that can be inverted."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dpbench.api import Context, Params, PublicModel, to_float
from dpbench.augment import Augmentation
from dpbench.public.ae import initialise
from dpbench.public.networks import ConvDecoder, ConvEncoder, DenseDecoder, dense_encoder

__all__ = ["WGAN", "WGANParams"]


class WGANParams(Params):
    """Hyperparameters of :class:`WGAN`.

    Attributes:
        architecture: ``conv``, or ``fc`` with hidden ``layers`` (Table 2 of the paper).
        loss: ``wgan`` (Wasserstein, critic weights clipped to ``weight_clip``),
            ``wgan-gp`` (Wasserstein, gradient norm held at 1 between real and
            generated images), or ``relativistic`` (logistic loss of the score
            difference, zero-centred gradient penalties on both).
        latent: latent size d.
        width, hidden, critic_width, critic_hidden: of the convolutional networks.
        steps: generator updates.
        critic_steps: critic updates per generator update.
        batch, learning_rate, critic_learning_rate, betas, weight_decay: of Adam.
        schedule: ``cosine`` to 0 after a warm-up, or ``constant``.
        penalty, penalty_every: weight of the gradient penalty, and on which steps.
        average: decay of the generator's moving average, which is what is kept; 0 for none.
        reconstruction: weight of the squared error of public images through a
            companion encoder trained beside the GAN; it makes the generator
            cover the public images, and its encoder gives inversion its start.
        prior, cycle, noise: the companion encoder's pull to N(0, I), weight of
            recovering z from G(z), and noise on its latents.
        augmentation: maps of the training images; null for none.
    """

    architecture: Literal["conv", "fc"] = "conv"
    loss: Literal["wgan", "wgan-gp", "relativistic"] = "relativistic"
    latent: int = Field(default=32, ge=1)
    layers: tuple[int, ...] = (128,)
    width: int = Field(default=16, ge=1)
    hidden: int = Field(default=256, ge=1)
    critic_width: int = Field(default=16, ge=1)
    critic_hidden: int = Field(default=128, ge=1)
    steps: int = Field(default=5000, ge=1)
    critic_steps: int = Field(default=1, ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    critic_learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_clip: float = Field(default=0.01, gt=0)
    penalty: float = Field(default=1.0, ge=0)
    penalty_every: int = Field(default=4, ge=1)
    average: float = Field(default=0.998, ge=0, lt=1)
    reconstruction: float = Field(default=0.1, ge=0)
    prior: float = Field(default=0.02, ge=0)
    cycle: float = Field(default=0.25, ge=0)
    noise: float = Field(default=0.1, ge=0)
    augmentation: Augmentation | None = Augmentation()


class WGAN(PublicModel):
    """A generator from N(0, I); decodes, has a prior, cannot encode."""

    name = "wgan"
    provides = frozenset({"decode", "prior"})
    Params = WGANParams
    cost = 200.0
    params: WGANParams

    def __init__(self, params: WGANParams, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        p = params
        self.latent_dim = p.latent
        self.generator: nn.Module
        self.critic: nn.Module
        self.companion: nn.Module | None = None
        if p.architecture == "conv":
            self.generator = ConvDecoder(image_shape, p.latent, p.width, p.hidden)
            self.critic = ConvEncoder(image_shape, 1, p.critic_width, p.critic_hidden)
        else:
            self.generator = DenseDecoder(image_shape, p.latent, p.layers)
            self.critic = dense_encoder(image_shape, 1, p.layers[::-1])
        if p.reconstruction:
            self.companion = ConvEncoder(image_shape, p.latent, p.width, p.hidden)

    def fit(self, images: Tensor, context: Context) -> None:
        p, rng = self.params, context.generator("training")
        initialise(self, context)
        self.to(context.device).train()
        averaged = copy.deepcopy(self.generator).requires_grad_(False)
        learners = [(self._adam(self.generator.parameters(), p.learning_rate), p.learning_rate)]
        critic = self._adam(self.critic.parameters(), p.critic_learning_rate)
        learners.append((critic, p.critic_learning_rate))
        if self.companion is not None:
            learners.append((torch.optim.Adam(self.companion.parameters(), 2e-3), 2e-3))
        for step in range(p.steps):
            rate = self._rate(step)
            for optimiser, learning_rate in learners:
                optimiser.param_groups[0]["lr"] = learning_rate * rate
            for inner in range(p.critic_steps):
                real = self._real(images, rng, context.device)
                z = torch.randn(len(real), p.latent, generator=rng).to(context.device)
                fake = self.generator(z)
                self._train_critic(critic, real, fake.detach(), step * p.critic_steps + inner, rng)
            self._train_generator([o for o, _ in learners if o is not critic], real, z, fake, rng)
            decay = min(p.average, step / (step + 10))
            with torch.no_grad():
                for kept, new in zip(
                    averaged.parameters(), self.generator.parameters(), strict=True
                ):
                    kept.lerp_(new, 1 - decay)
            context.progress(step + 1, p.steps)
        self.generator.load_state_dict(averaged.state_dict())
        self.eval()

    def _adam(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Adam:
        p = self.params
        return torch.optim.Adam(parameters, rate, betas=p.betas, weight_decay=p.weight_decay)

    def _rate(self, step: int, warm_up: int = 100) -> float:
        if self.params.schedule == "constant":
            return 1.0
        fall = 0.5 * (1 + math.cos(math.pi * step / self.params.steps))
        return min(1.0, (step + 1) / warm_up) * fall

    def _real(self, images: Tensor, rng: torch.Generator, device: torch.device) -> Tensor:
        chosen = torch.randint(len(images), (self.params.batch,), generator=rng)
        x = to_float(images[chosen].to(device))
        maps = self.params.augmentation
        return x if maps is None else maps(x, rng)

    def _train_critic(
        self,
        optimiser: torch.optim.Adam,
        real: Tensor,
        fake: Tensor,
        step: int,
        rng: torch.Generator,
    ) -> None:
        p = self.params
        penalise = p.loss != "wgan" and step % p.penalty_every == 0
        both = torch.cat([real, fake]).requires_grad_(penalise)
        scores = self.critic(both)
        on_real, on_fake = scores.chunk(2)
        if p.loss == "relativistic":
            loss = F.softplus(on_fake - on_real).mean()
            if penalise:
                squared = _gradient(scores, both).square().flatten(1).sum(1)
                loss = loss + p.penalty * p.penalty_every * squared.mean()
        else:
            loss = (on_fake - on_real).mean()
            if penalise:
                share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real)
                between = (share * real + (1 - share) * fake).requires_grad_(True)
                norms = _gradient(self.critic(between), between).flatten(1).norm(dim=1)
                loss = loss + p.penalty * p.penalty_every * (norms - 1).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if p.loss == "wgan":
            with torch.no_grad():
                for weight in self.critic.parameters():
                    weight.clamp_(-p.weight_clip, p.weight_clip)

    def _train_generator(
        self,
        optimisers: list[torch.optim.Adam],
        real: Tensor,
        z: Tensor,
        fake: Tensor,
        rng: torch.Generator,
    ) -> None:
        self.critic.requires_grad_(False)
        on_fake = self.critic(fake)
        if self.params.loss == "relativistic":
            with torch.no_grad():
                on_real = self.critic(real)
            loss = F.softplus(on_real - on_fake).mean()
        else:
            loss = -on_fake.mean()
        if self.companion is not None:
            loss = loss + self.params.reconstruction * self._companion_loss(real, z, fake, rng)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        self.critic.requires_grad_(True)

    def _companion_loss(
        self, real: Tensor, z: Tensor, fake: Tensor, rng: torch.Generator
    ) -> Tensor:
        assert self.companion is not None
        p = self.params
        code, back = self.companion(torch.cat([real, fake.detach()])).chunk(2)
        noise = torch.randn(code.shape, generator=rng).to(code)
        error = (self.generator(code + p.noise * noise) - real).square().sum()
        pull = p.prior * code.square().sum() + p.cycle * (back - z).square().sum()
        total: Tensor = (error + pull) / len(real)
        return total

    def decode(self, z: Tensor) -> Tensor:
        out: Tensor = self.generator(z)
        return out

    def guess(self, x: Tensor) -> Tensor | None:
        return None if self.companion is None else self.companion(x)


def _gradient(scores: Tensor, inputs: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return gradient

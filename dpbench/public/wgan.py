"""GANs on public images: the paper's Wasserstein ones, and one that can be inverted."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from dpbench.api import Context, Params, PublicModel, to_float
from dpbench.augment import Augmentation
from dpbench.public.networks import ConvDecoder, ConvEncoder, DenseDecoder, dense_encoder
from dpbench.public.training import average_into, initialise, robust_error, warm_cosine

__all__ = ["WGAN", "WGANParams"]


class WGANParams(Params):
    """Hyperparameters of :class:`WGAN`.

    Attributes:
        architecture: ``conv``, or ``fc`` with hidden ``layers`` (Table 2 of the paper).
        loss: ``wgan`` (Wasserstein, critic weights clipped to ``weight_clip``),
            ``wgan-gp`` (Wasserstein, gradient norm held at 1 between real and
            generated images), or ``relativistic`` (softplus of the gap between
            the scores of real and generated images, Jolicoeur-Martineau 2018,
            with zero-centred gradient penalties on both, Mescheder et al. 2018).
        latent: latent size d.
        layers: widths of the hidden layers of ``fc``'s generator; its critic has them in reverse.
        width: channels of the outer convolutions; the inner ones have twice as many.
        hidden: width of the linear layer beside the convolutions, of the generator and of the
            inference network.
        critic_hidden: the same of the critic.
        steps: generator updates.
        critic_steps: critic updates per generator update.
        batch: images in an update.
        learning_rate: Adam's, before the schedule.
        betas: decay of Adam's averages of gradients and of their squares.
        weight_decay: Adam's, a part of the gradient.
        schedule: ``cosine`` to 0 after a warm-up, or ``constant``.
        weight_clip: bound on the critic's weights, for ``wgan``.
        penalty: weight of the gradient penalty, which ``wgan`` has not.
        penalty_every: one critic step in so many has the penalty, that many times as heavy.
        average: decay of the moving average of the weights, which is kept; 0 for none.
        inference: weight of an inference network trained beside the GAN, which
            inverts the generator on public images and on the generator's own;
            it makes the generator cover the public images, and gives inversion
            its start. 0 for none.
        inference_rate: its learning rate.
        prior: in its loss, weight of half the squared norm of real images' latents.
        cycle: in its loss, weight of the error on generated images' latents.
        noise: in its loss, standard deviation of noise on latents before they are decoded.
        augmentation: maps of the training images, or ``"none"``.
    """

    architecture: Literal["conv", "fc"] = "conv"
    loss: Literal["wgan", "wgan-gp", "relativistic"] = "relativistic"
    latent: int = Field(default=32, ge=1)
    layers: tuple[int, ...] = (128,)
    width: int = Field(default=16, ge=1)
    hidden: int = Field(default=256, ge=1)
    critic_hidden: int = Field(default=128, ge=1)
    steps: int = Field(default=4000, ge=1)
    critic_steps: int = Field(default=1, ge=1)
    batch: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    betas: tuple[float, float] = (0.0, 0.99)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    weight_clip: float = Field(default=0.01, gt=0)
    penalty: float = Field(default=0.5, ge=0)
    penalty_every: int = Field(default=4, ge=1)
    average: float = Field(default=0.998, ge=0, lt=1)
    inference: float = Field(default=0.03, ge=0)
    inference_rate: float = Field(default=2e-3, gt=0)
    prior: float = Field(default=0.13, ge=0)
    cycle: float = Field(default=0.8, ge=0)
    noise: float = Field(default=0.1, ge=0)
    augmentation: Augmentation | Literal["none"] = Augmentation()


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
        self.inverse: nn.Module | None = None
        if p.architecture == "conv":
            self.generator = ConvDecoder(image_shape, p.latent, p.width, p.hidden)
            self.critic = ConvEncoder(image_shape, 1, p.width, p.critic_hidden)
        else:
            self.generator = DenseDecoder(image_shape, p.latent, p.layers)
            self.critic = dense_encoder(image_shape, 1, p.layers[::-1])
        if p.inference:
            self.inverse = ConvEncoder(image_shape, p.latent, p.width, p.hidden)

    def fit(self, images: Tensor, context: Context) -> None:
        p, rng = self.params, context.generator("training")
        initialise(self, context)
        self.to(context.device).train()
        average = copy.deepcopy(self).requires_grad_(False)
        critic = self._adam(self.critic.parameters(), p.learning_rate)
        learners = [critic, self._adam(self.generator.parameters(), p.learning_rate)]
        if self.inverse is not None:
            learners.append(
                torch.optim.Adam(self.inverse.parameters(), p.inference_rate, betas=(0.9, 0.99))
            )
        peaks = [learner.param_groups[0]["lr"] for learner in learners]
        for step in range(p.steps):
            if p.schedule == "cosine":
                for learner, peak in zip(learners, peaks, strict=True):
                    learner.param_groups[0]["lr"] = peak * warm_cosine(step, p.steps)
            for inner in range(p.critic_steps):
                real = self._real(images, rng, context.device)
                z = torch.randn(len(real), p.latent, generator=rng).to(context.device)
                fake = self.generator(z)
                self._train_critic(critic, real, fake.detach(), step * p.critic_steps + inner, rng)
            self._train_generator(learners[1:], real, z, fake, rng)
            average_into(average, self, step, p.average)
            context.progress(step + 1, p.steps)
        self.load_state_dict(average.state_dict())
        self.eval()

    def _adam(self, parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Adam:
        p = self.params
        return torch.optim.Adam(parameters, rate, betas=p.betas, weight_decay=p.weight_decay)

    def _real(self, images: Tensor, rng: torch.Generator, device: torch.device) -> Tensor:
        chosen = torch.randint(len(images), (self.params.batch,), generator=rng)
        x = to_float(images[chosen].to(device))
        maps = self.params.augmentation
        return x if maps == "none" else maps(x, rng)

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
                # Half gamma times each of the two means, which is gamma times the mean of both.
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
        if self.inverse is not None:
            loss = loss + self.params.inference * self._inference_loss(real, z, fake, rng)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        self.critic.requires_grad_(True)

    def _inference_loss(
        self, real: Tensor, z: Tensor, fake: Tensor, rng: torch.Generator
    ) -> Tensor:
        assert self.inverse is not None
        p = self.params
        on_real, on_fake = self.inverse(torch.cat([real, fake.detach()])).chunk(2)
        noise = p.noise * torch.randn(on_real.shape, generator=rng).to(on_real)
        error = robust_error(self.generator(on_real + noise), real)
        spread = 0.5 * on_real.square().sum() / len(real)
        cycle = (on_fake - z).square().sum() / len(real)
        total: Tensor = error + p.prior * spread + p.cycle * cycle
        return total

    def decode(self, z: Tensor) -> Tensor:
        out: Tensor = self.generator(z)
        return out

    def guess(self, x: Tensor) -> Tensor | None:
        return None if self.inverse is None else self.inverse(x)


def _gradient(scores: Tensor, inputs: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return gradient

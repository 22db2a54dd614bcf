"""DP-GAN: the critic sees private images through DP-SGD only."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench.api import Capability, Context, Params, PrivateGenerator
from dpbench.api.privacy import PrivateLatents
from dpbench_pixel.networks import Generator, guess_shape, start
from dpbench_pixel.training import Adversaries

__all__ = ["DPGAN", "DPGANParams"]


class DPGANParams(Params):
    """Hyperparameters; the table ``[generators.dpgan]`` sets them, ``None`` is automatic."""

    shape: tuple[int, int, int] | None = Field(
        None, description="channels, height and width; automatic: the squarest that fit"
    )
    latent: int = Field(32, ge=1, description="numbers that an image is made of")
    width: int = Field(16, ge=1, description="channels of the outermost layers")
    pretrain_steps: int = Field(300, ge=0, description="critic steps on public images; free")
    batch: int | None = Field(None, ge=1, description="expected size of a Poisson batch")
    steps: int | None = Field(None, ge=1, description="private critic steps")
    critic_steps: int = Field(3, ge=1, description="critic steps between generator steps")
    fakes: int = Field(128, ge=1, description="generated images in a step")
    critic_rate: float = Field(1e-3, gt=0, description="Adam's for the critic")
    generator_rate: float = Field(1e-3, gt=0, description="Adam's for the generator")
    average: float = Field(0.98, ge=0, lt=1, description="decay of the published average")


class DPGAN(PrivateGenerator):
    """A generator led by a critic whose gradient on private images is clipped and noised.

    Xie et al. 2018 with what has proven better since: each image's gradient is clipped, not
    the weights (Abadi et al. 2016), many critic steps meet one of the generator and batches
    are large (Bie, Kamath and Zhang 2023), and both networks are trained on public images
    first, which is free.
    """

    name = "dpgan"
    label = "DPGAN"
    version = "0.1.0"
    requires: ClassVar[frozenset[Capability]] = frozenset({"pixels"})
    Params: ClassVar[type[Params]] = DPGANParams
    cost = 120.0
    params: DPGANParams

    def __init__(self, params: DPGANParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.shape = params.shape or guess_shape(latent_dim)
        self.net = Generator(self.shape, params.latent, params.width)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Learn from public images, then spend all of the budget on critic steps."""
        start(self.net, context.generator("init:generator"))
        self.net.low.fill_(float(public.min()))
        self.net.high.fill_(float(public.max()))
        self.net.to(context.device)
        adversaries = Adversaries(self.net, self.params, context)
        adversaries.learn_public(public.to(context.device))
        adversaries.learn_private(private)
        self.net.load_state_dict(adversaries.average.state_dict())
        self.net.to("cpu")

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Draw ``[count, C * H * W]``."""
        noise = torch.randn(count, self.params.latent, generator=rng)
        return torch.cat([self.net(part) for part in noise.split(1000)])

    def state(self) -> dict[str, Tensor]:
        """Return the generator's parameters."""
        return {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.net.load_state_dict(state)

"""AuGM on latents: an autoencoder learned privately, through which public latents pass.

Chen, Xiang, Xue, Li, Borisov, Kaarfar and Zhu 2018, "Differentially private data generative
models" (DP-AuGM).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench import hookimpl
from dpbench.api import Context, Params, PrivateGenerator
from dpbench.api.privacy import PrivateGradient, PrivateLatents
from dpbench_augm.autoencoder import Autoencoder, reconstruction_error, start

__all__ = ["AuGM", "AuGMParams", "register_generators"]


class AuGMParams(Params):
    """Hyperparameters; the table ``[generators.augm]`` sets them, ``None`` is automatic."""

    hidden: int = Field(64, ge=1, description="width of the layer on either side of the code")
    code: int = Field(16, ge=1, description="numbers that a latent is squeezed into")
    noise: float = Field(
        1.0, ge=0, description="standard deviation of noise on what is encoded, always"
    )
    bank: int = Field(4000, ge=1, description="public latents that are kept, to be passed through")
    batch: int = Field(1024, ge=1, description="expected size of a Poisson batch")
    steps: int | None = Field(None, ge=1, description="private steps")
    learning_rate: float = Field(1e-2, gt=0, description="Adam's, falling to zero")


class AuGM(PrivateGenerator):
    """Public latents, as an autoencoder that knows private ones only gives them back.

    The autoencoder learns by DP-SGD with all of the budget. Drawing a public latent, adding
    noise and passing it through costs nothing more.
    """

    name = "augm"
    label = "AuGM"
    version = "0.1.0"
    Params: ClassVar[type[Params]] = AuGMParams
    cost = 30.0
    params: AuGMParams

    def __init__(self, params: AuGMParams, latent_dim: int) -> None:
        super().__init__(params, latent_dim)
        self.net = Autoencoder(latent_dim, params.hidden, params.code)
        self.bank = torch.zeros(1, latent_dim)

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        """Learn the autoencoder, and keep some public latents."""
        rows = torch.randperm(len(public), generator=context.generator("bank"))
        self.bank = public[rows[: self.params.bank]].cpu()
        start(self.net, context.generator("init"))
        self.net.to(context.device)
        self.learn(private, context)
        self.net.to("cpu")

    def learn(self, private: PrivateLatents, context: Context) -> None:
        """Spend all of the budget on steps of DP-SGD."""
        heavy = private.budget.private and private.budget.epsilon < 3
        steps = self.params.steps or (200 if heavy else 400)
        gradient = PrivateGradient(
            private,
            self.net,
            reconstruction_error(self.params.noise),
            sampling_rate=min(1.0, self.params.batch / private.size),
            steps=steps,
            randomness=private.dim,
        )
        optimiser = torch.optim.Adam(self.net.parameters(), self.params.learning_rate, (0.9, 0.99))
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = self.params.learning_rate * (1 - step / steps)
            gradient.step()
            optimiser.step()
            if step % 20 == 0:
                context.progress(step, steps)

    @torch.no_grad()
    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        """Pass ``count`` public latents, drawn with replacement, through; ``[count, d]``."""
        drawn = self.bank[torch.randint(len(self.bank), (count,), generator=rng)]
        noise = torch.randn(count, self.latent_dim, generator=rng)
        made: Tensor = self.net(drawn + self.params.noise * noise)
        return made

    def state(self) -> dict[str, Tensor]:
        """Return the autoencoder's parameters and the public latents."""
        return {"bank": self.bank, **{k: t.clone() for k, t in self.net.state_dict().items()}}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.bank = state["bank"]
        self.net.load_state_dict({k: t for k, t in state.items() if k != "bank"})


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(AuGM)

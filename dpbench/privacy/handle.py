"""The handle through which a private generator touches private latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import noise_multiplier_for
from dpbench.privacy.ledger import Ledger, Mechanism

__all__ = ["Budget", "PrivateLatents"]


@dataclass(frozen=True)
class Budget:
    """A target: (epsilon, delta)-DP over add/remove of one image.

    ``noise_multiplier`` fixes the noise of every subsampled step instead of
    deriving it from epsilon; epsilon is then whatever was spent.
    """

    epsilon: float
    delta: float
    noise_multiplier: float | None = None

    @property
    def private(self) -> bool:
        """False for the non-private row (epsilon = infinity)."""
        return math.isfinite(self.epsilon) or self.noise_multiplier is not None


@dataclass
class PrivateLatents:
    """Private latents, reachable only through mechanisms that enter the ledger.

    Attributes:
        size: number of records N; treated as public (it sets sampling rates).
        dim: latent size d.
        budget: what may be spent.
        clip: the trial's L2 clip, to be used for per-record bounds.
        ledger: what has been spent.
    """

    _latents: Tensor
    budget: Budget
    clip: float
    context: Context
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def size(self) -> int:
        return self._latents.shape[0]

    @property
    def dim(self) -> int:
        return self._latents.shape[1]

    def noise_multiplier(self, sampling_rate: float, steps: int, share: float = 1.0) -> float:
        """Return the least noise multiplier with which ``steps`` uses fit the budget.

        ``share`` is the part of epsilon to use, in (0, 1], for generators that
        compose several mechanisms. Returns 0 when the budget is infinite.
        """
        if self.budget.noise_multiplier is not None:
            return self.budget.noise_multiplier
        if not self.budget.private:
            return 0.0
        return noise_multiplier_for(
            self.budget.epsilon * share, self.budget.delta, sampling_rate, steps
        )

    def release_sum(
        self,
        contribution: Callable[[Tensor], Tensor],
        *,
        clip: float,
        noise_multiplier: float,
        name: str,
    ) -> Tensor:
        """Release a noisy sum of per-record contributions (Gaussian mechanism).

        ``contribution`` maps a batch of latents ``[B, d]`` to ``[B, k]``, each row
        from its own latent; rows are clipped to L2 norm ``clip``, summed over all
        records, and N(0, (noise_multiplier * clip)^2) is added to each entry.
        Returns ``[k]``.
        """
        if clip <= 0:
            raise DpbenchError(f"clip of {name!r} must be positive, got {clip}")
        total: Tensor | None = None
        for chunk in self._latents.split(65536):
            rows = contribution(chunk).double()
            if rows.shape[0] != chunk.shape[0]:
                raise DpbenchError(
                    f"{name!r}: a contribution must give one row per record "
                    f"({chunk.shape[0]} expected, got {rows.shape[0]})"
                )
            scale = (clip / rows.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp_max(1)
            part = (rows * scale).sum(0)
            total = part if total is None else total + part
        if total is None:
            raise DpbenchError(f"{name!r}: there are no private records")
        self.ledger.record(
            Mechanism(name=name, noise_multiplier=noise_multiplier, sensitivity=clip)
        )
        noise = torch.randn(
            total.shape, generator=self.context.generator(f"noise:{name}"), dtype=total.dtype
        )
        return (total + noise_multiplier * clip * noise).float()

    def raw(self, mechanisms: Iterable[Mechanism]) -> Tensor:
        """Hand out the latents themselves; the trial becomes ``self-declared``.

        ``mechanisms`` is what the generator promises to do with them.
        """
        self.ledger.declare(mechanisms)
        return self._latents

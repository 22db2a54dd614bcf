"""Affine maps of latents by public statistics alone, so that they cost no privacy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Standardiser"]


@dataclass(frozen=True)
class Standardiser:
    """``s = (z - shift) @ forward`` and back.

    Attributes:
        shift: ``[d]``.
        forward: ``[d, d]``.
        backward: ``[d, d]``, the inverse of ``forward``.
    """

    shift: Tensor
    forward: Tensor
    backward: Tensor

    @classmethod
    def from_public(cls, public: Tensor, how: str) -> Standardiser:
        """Fit to public latents ``[M, d]``.

        ``whiten`` gives them mean 0 and identity covariance (symmetric square
        root, eigenvalues floored at 1e-6 of the largest); ``scale`` mean 0 and
        one common unit variance; ``none`` leaves latents as they are.
        """
        identity = torch.eye(public.shape[1])
        if how == "none":
            return cls(torch.zeros(public.shape[1]), identity, identity)
        shift = public.double().mean(0)
        if how == "scale":
            scale = float((public.double() - shift).square().mean().sqrt().clamp_min(1e-12))
            return cls(shift.float(), identity / scale, identity * scale)
        values, vectors = torch.linalg.eigh(torch.atleast_2d(torch.cov(public.double().T)))
        roots = values.clamp_min(1e-6 * float(values.max()) + 1e-12).sqrt()
        return cls(
            shift.float(),
            (vectors / roots @ vectors.T).float(),
            (vectors * roots @ vectors.T).float(),
        )

    def apply(self, z: Tensor) -> Tensor:
        return (z - self.shift) @ self.forward

    def invert(self, s: Tensor) -> Tensor:
        return s @ self.backward + self.shift

    def state(self) -> dict[str, Tensor]:
        return {"shift": self.shift, "forward": self.forward, "backward": self.backward}

    @classmethod
    def from_state(cls, state: dict[str, Tensor]) -> Standardiser:
        return cls(state["shift"], state["forward"], state["backward"])

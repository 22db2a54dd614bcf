"""Random Fourier features: their inner products approximate Gaussian kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["FourierFeatures", "frequencies"]

_SAMPLE = 500


def frequencies(
    public: Tensor, count: int, scales: Sequence[float], rng: torch.Generator
) -> Tensor:
    """Draw ``[d, count]`` frequencies of Gaussian kernels, an equal part of each width.

    A width is one of ``scales`` times the median distance between public latents
    ``[M, d]``: public data alone decides it.
    """
    some = public[torch.randperm(len(public), generator=rng)[:_SAMPLE]]
    median = float(torch.pdist(some).median()) if len(some) > 1 else 1.0
    widths = torch.tensor(scales).repeat(-(-count // len(scales)))[:count] * max(median, 1e-6)
    return torch.randn(public.shape[1], count, generator=rng) / widths


class FourierFeatures:
    """``z -> (cos z W, sin z W) / sqrt(D)`` (Rahimi and Recht 2007), of L2 norm 1.

    Args:
        waves: frequencies W, ``[d, D]``.
    """

    def __init__(self, waves: Tensor) -> None:
        self.waves = waves

    def __call__(self, z: Tensor) -> Tensor:
        """Map ``[B, d]`` to ``[B, 2 D]``."""
        phases = z @ self.waves
        return torch.cat([phases.cos(), phases.sin()], 1) * self.waves.shape[1] ** -0.5

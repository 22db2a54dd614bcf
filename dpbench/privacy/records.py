"""Private records as checks handle them: latents, and their classes where they have any."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Records"]


@dataclass(frozen=True)
class Records:
    """Latents ``[n, d]`` and their labels ``[n]`` in ``0..classes-1``, where there are any."""

    latents: Tensor
    labels: Tensor | None = None
    classes: int = 1

    def __len__(self) -> int:
        return len(self.latents)

    def of(self, rows: Tensor) -> Records:
        """Return those records alone."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, latents=self.latents[rows], labels=labels)

    def and_more(self, latents: Tensor, labels: Tensor | None) -> Records:
        """Return these records and further ones."""
        if self.labels is not None and labels is not None:
            labels = torch.cat([self.labels, labels])
        return replace(self, latents=torch.cat([self.latents, latents]), labels=labels)

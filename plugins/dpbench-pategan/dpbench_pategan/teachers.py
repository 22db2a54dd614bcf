"""Teachers: discriminators that each see a disjoint part of the records, and their votes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from dpbench_pategan.networks import Discriminator

__all__ = ["Classroom"]


class Classroom:
    """One round's teachers, trained one after the other, each on its own part.

    A teacher starts from the student, which is a function of earlier votes alone, and
    descends its own records against generated latents: full batches, no randomness, nothing
    that is kept for the next. So one record moves one teacher, and that teacher's votes only.

    Args:
        student: where teachers start.
        fakes: generated latents ``[n, d]`` that all teachers learn to tell from records.
        queries: generated latents ``[M, d]`` that they vote on.
        steps, rate: of gradient descent with momentum.
    """

    def __init__(
        self, student: Discriminator, fakes: Tensor, queries: Tensor, steps: int, rate: float
    ) -> None:
        self.start = [p.detach() for p in student.parameters()]
        self.fakes, self.queries, self.steps, self.rate = fakes, queries, steps, rate

    def votes(self, records: Tensor) -> Tensor:
        """Train on one part ``[n, d]``; return 1/2 for each query that looks real, else -1/2.

        Without records a teacher knows nothing, and its votes are 0.
        """
        if len(records) == 0:
            return torch.zeros(len(self.queries), device=self.queries.device)
        logits = _logits(self.trained(records), self.queries)
        return torch.where(logits > 0, 0.5, -0.5)

    def trained(self, records: Tensor) -> list[Tensor]:
        """Return a teacher's parameters after its descent."""
        weights = [p.clone() for p in self.start]
        speed = [torch.zeros_like(p) for p in weights]
        both = torch.cat([records, self.fakes])
        labels = torch.cat([both.new_ones(len(records)), both.new_zeros(len(self.fakes))])
        balance = torch.where(labels > 0, 0.5 / len(records), 0.5 / len(self.fakes))
        for _ in range(self.steps):
            with torch.enable_grad():
                leaves = [w.requires_grad_() for w in weights]
                logits = _logits(leaves, both)
                loss = F.binary_cross_entropy_with_logits(logits, labels, balance, reduction="sum")
                slopes = torch.autograd.grad(loss, leaves)
            speed = [0.9 * v + g for v, g in zip(speed, slopes, strict=True)]
            weights = [(w - self.rate * v).detach() for w, v in zip(leaves, speed, strict=True)]
        return weights


def _logits(weights: list[Tensor], z: Tensor) -> Tensor:
    """Return what a :class:`Discriminator` of these parameters says of ``z``, ``[B]``."""
    first, bias, second, offset = weights
    hidden = F.leaky_relu(torch.addmm(bias, z, first.T), 0.2)
    return torch.addmm(offset, hidden, second.T).squeeze(1)

"""One use of the Gaussian mechanism: what was accounted, and all that may happen under it.

Every number that leaves private data passes :meth:`GaussianUse.release`. A sum, a
histogram, grouped sums and the steps of DP-SGD differ in what they add up; that the
noise fits the stated sensitivity, that nobody takes more than was accounted, and what
an audit or a replay sees, is decided here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.randomness import NoiseSource, SecureSource, fill_normal
from dpbench.privacy.sampling import PoissonSampler

__all__ = ["Evidence", "Figures", "GaussianUse", "NotAccounted", "Tape"]

Figures = Callable[[], dict[str, float]]
"""Tells how records were included so far, as an ``InclusionCounter`` does."""


class NotAccounted(DpbenchError):
    """A mechanism is used more often than the ledger says."""


class Tape(Protocol):
    """Listens to releases, and may answer in the noise's place."""

    def release(self, mechanism: Mechanism, total: Tensor, noisy: Callable[[], Tensor]) -> Tensor:
        """Return what one use of ``mechanism`` hands out.

        ``total`` is the sum before noise, ``noisy()`` the same with fresh noise; both
        are copies. A recording keeps ``total`` and what ``noisy()`` gives, and returns
        the latter; a playback returns what was recorded.
        """
        ...

    def part(self, division: int, number: int) -> Tape:
        """Return the tape of class ``number``, whose releases have an order of their own.

        ``division`` counts how often records have been divided into classes before.
        """
        ...


class Evidence:
    """What an audit's white-box attacker gathers from releases.

    Args:
        canaries: latents ``[m, d]`` whose traces are looked for.
        latents: the private latents ``[N, d]``.
        labels: the canaries' classes ``[m]``; all 0 without labels.

    Attributes:
        planted: ``[N]``, which records are canaries; the attacker knows the others.
        alignment: ``[m]``, how far releases so far point toward each canary.
    """

    def __init__(self, canaries: Tensor, latents: Tensor, labels: Tensor | None = None) -> None:
        self.canaries = canaries.to(latents)
        none = torch.zeros(len(canaries), dtype=torch.int64)
        self.labels = (none if labels is None else labels).to(latents.device)
        self._looked_for = torch.ones(len(canaries), dtype=torch.bool)
        self.planted = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
        for canary in self.canaries:
            self.planted |= (latents == canary).all(1)
        self.alignment = torch.zeros(len(canaries), dtype=torch.float64)

    def add(self, products: Tensor, mechanism: Mechanism) -> None:
        """Add one release's evidence that each canary was in.

        ``products`` ``[m]`` are the inner products of the noisy sum, less the records
        that are no canaries, with each canary's clipped contribution. To first order
        the log-likelihood ratio is ``rate * product / noise^2``.
        """
        weight = mechanism.sampling_rate / max(mechanism.noise_std, 1e-3) ** 2
        found = products.detach().double().cpu().masked_fill(~self._looked_for, 0)
        self.alignment += weight * found

    def of_class(self, number: int) -> Evidence:
        """Return the evidence of releases that only canaries of one class can have joined.

        It adds to the same alignment.
        """
        own = copy.copy(self)
        own._looked_for = (self.labels == number).cpu()
        return own


class GaussianUse:
    """One (possibly repeated and subsampled) use of the Gaussian mechanism.

    It stands in the ledger before it exists, with the number of its releases. Each
    release is announced by :meth:`begin` and happens once::

        use.begin()
        ...                        # add up contributions of L2 norm <= sensitivity
        noisy = use.release(total)

    Args:
        mechanism: as it stands in the ledger.
        size: number of records N.
        noise: stream of this use's noise alone.
        sampling: stream of its Poisson samples alone.
        evidence: gathers what an audit looks at.
        tape: listens to releases.
        figures: how records were included; None where every release takes all.
    """

    def __init__(
        self,
        mechanism: Mechanism,
        size: int,
        noise: NoiseSource,
        sampling: NoiseSource,
        evidence: Evidence | None = None,
        tape: Tape | None = None,
        figures: Figures | None = None,
    ) -> None:
        self.mechanism = mechanism
        self.noise = noise
        self.evidence = evidence
        self.figures = figures
        self._size, self._sampling, self._tape = size, sampling, tape
        self._begun, self._open = 0, False

    def sampler(self, device: torch.device | str = "cpu") -> PoissonSampler:
        """Return the source of this use's batches, at the accounted rate."""
        return PoissonSampler(self._size, self.mechanism.sampling_rate, self._sampling, device)

    def begin(self) -> None:
        """Announce the next release.

        Raises:
            NotAccounted: all that were accounted have been announced.
        """
        if self._begun == self.mechanism.count:
            raise NotAccounted(
                f"{self.mechanism.name!r}: only {self._begun} private steps were accounted: "
                "ask for as many as will be taken"
            )
        self._begun += 1
        self._open = True

    def release(self, total: Tensor, scratch: Tensor | None = None) -> Tensor:
        """Add noise to ``total`` in place and return it.

        ``total`` is a sum in which a record moves at most the mechanism's sensitivity
        in L2 norm. ``scratch``, of ``total``'s shape, is overwritten.

        Raises:
            NotAccounted: the release announced last was handed out already.
        """
        if not self._open:
            raise NotAccounted(
                f"{self.mechanism.name!r}: a second release within one accounted step: "
                "take each step's gradient once and keep it"
            )
        # What a CUDA graph captures is not carried out yet.
        self._open = total.is_cuda and torch.cuda.is_current_stream_capturing()
        if self._tape is None:
            return self._noisy(total, scratch)
        answer = self._tape.release(
            self.mechanism, total.clone(), lambda: self._noisy(total.clone(), scratch)
        )
        return total.copy_(answer)

    def align(self, products: Tensor) -> None:
        """Hand the last release's inner products ``[m]`` to the audit; see :class:`Evidence`."""
        if self.evidence is not None:
            self.evidence.add(products, self.mechanism)

    def _noisy(self, total: Tensor, scratch: Tensor | None) -> Tensor:
        if self.mechanism.noise_std == 0:
            return total
        if isinstance(self.noise, SecureSource):
            # In float64 up to the end: what a float32 sum can come to tells its terms apart.
            noise = self.noise.normal(total.shape, total.device, torch.float64)
            return total.copy_(total.double() + self.mechanism.noise_std * noise)
        scratch = torch.empty_like(total) if scratch is None else scratch
        return total.add_(fill_normal(self.noise, scratch), alpha=self.mechanism.noise_std)

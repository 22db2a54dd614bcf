"""The handle through which a private generator touches private latents."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import Spent, compose, noise_multiplier_for
from dpbench.privacy.ledger import Ledger, Mechanism
from dpbench.privacy.randomness import NoiseSource, RngMode, SecureSource, SeededSource

__all__ = ["Budget", "NotPerRecord", "PrivateLatents", "check_per_record", "finite_rows"]

_CHUNK = 65536


class NotPerRecord(DpbenchError):
    """A contribution whose rows depend on other records: its sensitivity is not the clip."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r}: a record's contribution alone differs from its row in the batch, so one "
            "record would move others: use no batch statistics and no randomness inside the "
            "contribution (standardise with public latents, draw random features beforehand)"
        )


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

    The handle guards against mistakes, not against malice: Python cannot keep a
    generator from reading ``_latents``, which is why there is an audit.

    Attributes:
        size: number of records N; treated as public (it sets sampling rates).
        dim: latent size d.
        budget: what may be spent.
        clip: the trial's L2 clip, to be used for per-record bounds.
        ledger: what has been spent.
        secure_rng: draw noise and samples from a cryptographically secure source.
        canaries: latents ``[m, d]`` whose traces an audit looks for; None outside audits.
        alignment: ``[m]``, how far releases so far point toward each canary.
        planted: ``[N]``, which records are canaries; an attacker knows the others.
    """

    _latents: Tensor = field(repr=False)
    budget: Budget
    clip: float
    context: Context
    ledger: Ledger = field(default_factory=Ledger)
    secure_rng: bool = False
    canaries: Tensor | None = field(default=None, init=False, repr=False)
    alignment: Tensor | None = field(default=None, init=False, repr=False)
    planted: Tensor = field(init=False, repr=False)
    _uses: Counter[str] = field(default_factory=Counter, init=False, repr=False)

    def __post_init__(self) -> None:
        self.ledger.rng = self.rng_mode
        self.planted = torch.zeros(
            len(self._latents), dtype=torch.bool, device=self._latents.device
        )

    @property
    def size(self) -> int:
        return self._latents.shape[0]

    @property
    def dim(self) -> int:
        return self._latents.shape[1]

    @property
    def rng_mode(self) -> RngMode:
        """``"seeded"`` (a benchmark) or ``"secure"`` (fit for a release)."""
        return "secure" if self.secure_rng else "seeded"

    @property
    def spent(self) -> Spent:
        """What the ledger comes to so far, at the budget's delta."""
        return compose(self.ledger.mechanisms, self.budget.delta)

    def noise_source(self, name: str) -> NoiseSource:
        """Return a stream of noise that no other use of the latents shares.

        The n-th call for a name gives that name's n-th stream, whatever other
        mechanisms do in between.
        """
        use = self._uses[name]
        self._uses[name] += 1
        if self.secure_rng:
            return SecureSource()
        return SeededSource(self.context.seed, "private-noise", name, use)

    def noise_multiplier(
        self, sampling_rate: float = 1.0, steps: int = 1, share: float = 1.0
    ) -> float:
        """Return the least noise multiplier with which ``steps`` uses fit the budget.

        What the ledger holds already counts: with ``share=1`` the composed total
        comes to the budget's epsilon; with less, to what is spent plus that share
        of what is left. So a generator with three mechanisms may ask for shares
        0.2, 0.5 and 1, each after using the one before.

        Returns 0 when the budget is infinite.

        Raises:
            BudgetExhausted: the ledger holds (nearly) all of the budget.
        """
        if not 0 < share <= 1:
            raise DpbenchError(f"a share of the budget lies in (0, 1], got {share}")
        if self.budget.noise_multiplier is not None:
            return self.budget.noise_multiplier
        if not self.budget.private:
            return 0.0
        target = self.budget.epsilon
        if share < 1:
            spent = self.spent.epsilon
            target = spent + share * (target - spent)
        return noise_multiplier_for(
            target, self.budget.delta, sampling_rate, steps, self.ledger.mechanisms
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

        Raises:
            NotPerRecord: some rows depend on the rest of their batch.
            DpbenchError: rows are missing or not finite, or the clip is not positive.
        """
        if not 0 < clip < math.inf:
            raise DpbenchError(f"clip of {name!r} must be positive and finite, got {clip}")
        total: Tensor | None = None
        background = torch.zeros(())
        for chunk, planted in zip(
            torch.split(self._latents, _CHUNK), torch.split(self.planted, _CHUNK), strict=True
        ):
            rows = finite_rows(contribution, chunk, name)
            if total is None:
                check_per_record(contribution, chunk, rows, name)
            rows = _clipped(rows, clip)
            total = rows.sum(0) if total is None else total + rows.sum(0)
            if self.canaries is not None:
                background = background + rows[~planted].sum(0)
        if total is None:
            raise DpbenchError(f"{name!r}: there are no private records")
        self.ledger.record(
            Mechanism(name=name, noise_multiplier=noise_multiplier, sensitivity=clip)
        )
        noise = self.noise_source(name).normal(total.shape, dtype=torch.float64)
        release = total + noise_multiplier * clip * noise.to(total.device)
        if self.canaries is not None:
            rows = _clipped(finite_rows(contribution, self.canaries, name), clip)
            self.align(rows @ (release - background), noise_multiplier * clip)
        return release.float()

    def noisy_count(
        self,
        groups: Callable[[Tensor], Tensor],
        bins: int,
        *,
        noise_multiplier: float,
        name: str,
    ) -> Tensor:
        """Release how many records fall in each of ``bins`` groups, with Gaussian noise.

        ``groups`` maps latents ``[B, d]`` to one integer each, ``[B]``: a group in
        ``0..bins-1``, or anything else for none. A record counts once, so the L2
        sensitivity of the histogram is 1. Returns ``[bins]``; entries may be negative.
        """

        def one_hot(z: Tensor) -> Tensor:
            return groups(z).reshape(-1, 1) == torch.arange(bins, device=z.device)

        return self.release_sum(one_hot, clip=1.0, noise_multiplier=noise_multiplier, name=name)

    def raw(self, mechanisms: Iterable[Mechanism]) -> Tensor:
        """Hand out the latents themselves; the trial becomes ``self-declared``.

        ``mechanisms`` is what the generator promises to do with them.
        """
        self.ledger.declare(mechanisms)
        return self._latents.clone()

    def watch(self, canaries: Tensor) -> None:
        """Follow ``canaries`` ``[m, d]`` through every release, for an audit's white-box score."""
        self.canaries = canaries.to(self._latents)
        for canary in self.canaries:
            self.planted |= (self._latents == canary).all(1)
        self.alignment = torch.zeros(len(canaries), dtype=torch.float64)

    def align(self, products: Tensor, noise: float, sampling_rate: float = 1.0) -> None:
        """Add one release's evidence that each canary was in.

        ``products`` ``[m]`` are the inner products of the noisy sum, less the records
        that are no canaries, with each canary's clipped contribution; ``noise`` is the
        standard deviation of the noise.
        To first order the log-likelihood ratio is ``rate * product / noise^2``.
        """
        if self.alignment is not None:
            weight = sampling_rate / max(noise, 1e-3) ** 2
            self.alignment += weight * products.detach().double().cpu()


def check_per_record(
    contribution: Callable[[Tensor], Tensor], chunk: Tensor, rows: Tensor, name: str
) -> None:
    """Compare a few records' ``rows`` with what the same records give alone.

    Raises:
        NotPerRecord: they differ.
    """
    count = len(chunk)
    probes = sorted({0, count // 3, 2 * count // 3, count - 1})
    differ = 0
    for index in probes:
        alone = contribution(chunk[index : index + 1]).double()
        expected = rows[index : index + 1].double()
        # A thousandth: what float32 products of other shapes may differ by, and no more.
        slack = 1e-3 * expected.norm() + 1e-6
        differ += alone.shape != expected.shape or not bool((alone - expected).norm() <= slack)
    # Rounding may flip one record that sits between two clusters, never two of four.
    if differ >= min(2, len(probes)):
        raise NotPerRecord(name)


def finite_rows(contribution: Callable[[Tensor], Tensor], chunk: Tensor, name: str) -> Tensor:
    """Return the contributions of ``chunk`` in float64, one finite row per record."""
    rows: Tensor = contribution(chunk).double()
    if rows.ndim != 2 or rows.shape[0] != chunk.shape[0]:
        raise DpbenchError(
            f"{name!r}: a contribution must give one row per record "
            f"([{chunk.shape[0]}, k] expected, got {list(rows.shape)})"
        )
    if not torch.isfinite(rows).all():
        raise DpbenchError(
            f"{name!r}: a contribution is not finite, and clipping cannot bound it: "
            "clamp or standardise before logarithms, divisions and powers"
        )
    return rows


def _clipped(rows: Tensor, clip: float) -> Tensor:
    norms: Tensor = rows.norm(dim=1, keepdim=True)
    return rows * (clip / norms.clamp_min(1e-30)).clamp_max(1)

"""The handle through which a private generator touches private latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import noise_multiplier_for
from dpbench.privacy.contributions import NotPerRecord, beside_classes
from dpbench.privacy.grouped import gaussian, grouped_sum

if TYPE_CHECKING:
    from dpbench.api import Context
    from dpbench.privacy.accounting import Spent
    from dpbench.privacy.ledger import Ledger, Mechanism
    from dpbench.privacy.randomness import NoiseSource, RngMode
    from dpbench.privacy.session import PrivateSession

__all__ = ["Budget", "NotPerRecord", "PrivateLatents"]


class Budget(NamedTuple):
    """A target: (epsilon, delta)-DP when one image is replaced by a null record.

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


class PrivateLatents:
    """Private latents, reachable only through mechanisms that enter the ledger.

    A handle is made by a :class:`~dpbench.privacy.session.PrivateSession`, which
    keeps budget, ledger and noise; nothing here can be assigned, and a copy is the
    handle itself. It guards against mistakes, not against malice: Python cannot keep
    a generator from reading ``_session``, which is why there are a replay and an audit.

    What is protected is one record against its replacement by a *null record*, which
    contributes nothing to any mechanism ("zero-out" adjacency). The number of
    records is public.
    """

    __slots__ = ("_session",)
    _session: PrivateSession

    def __init__(self, session: PrivateSession) -> None:
        object.__setattr__(self, "_session", session)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a handle on private latents cannot be changed (tried {name!r})")

    __delattr__ = __setattr__  # type: ignore[assignment]

    def __copy__(self) -> PrivateLatents:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> PrivateLatents:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a handle on private latents cannot be pickled")

    def __repr__(self) -> str:
        return f"PrivateLatents(size={self.size}, dim={self.dim}, budget={self.budget})"

    @property
    def _latents(self) -> Tensor:
        """The latents themselves, null records as zeros: for engines, not for generators."""
        return self._session.latents

    @property
    def size(self) -> int:
        """Number of records N, null records included; public (it sets sampling rates).

        In a view of one class it is N over the number of classes, since how many records
        a class has is private: it is off by as much as classes are unequal.
        """
        return self._session.size

    @property
    def dim(self) -> int:
        """Latent size d."""
        return self._session.table.shape[1]

    @property
    def classes(self) -> int:
        """Number of classes; public. 1 where records have no labels."""
        return self._session.classes

    @property
    def device(self) -> torch.device:
        """Where contributions find their latents."""
        return self._session.table.device

    @property
    def budget(self) -> Budget:
        """What may be spent."""
        return self._session.budget

    @property
    def clip(self) -> float:
        """The trial's L2 clip, to be used for per-record bounds."""
        return self._session.clip

    @property
    def context(self) -> Context:
        """Device, free randomness and progress of the trial."""
        return self._session.context

    @property
    def rng_mode(self) -> RngMode:
        """``"seeded"`` (a benchmark) or ``"secure"`` (fit for a release)."""
        return self._session.rng_mode

    @property
    def ledger(self) -> Ledger:
        """A copy of what has been spent on what; changing it changes nothing."""
        return self._session.ledger

    @property
    def spent(self) -> Spent:
        """What the ledger comes to so far, at the budget's delta."""
        return self._session.spent

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
        held = self._session.held
        return noise_multiplier_for(target, self.budget.delta, sampling_rate, steps, held)

    def release_sum(
        self,
        contribution: Callable[[Tensor], Tensor],
        *,
        clip: float,
        noise_multiplier: float,
        name: str,
        by_class: bool = False,
    ) -> Tensor:
        """Release a noisy sum of per-record contributions (Gaussian mechanism).

        ``contribution`` maps a batch of latents ``[B, d]`` to ``[B, k]``, each row
        from its own latent; rows are clipped to L2 norm ``clip``, summed over all
        records, and N(0, (noise_multiplier * clip)^2) is added to each entry.
        Null records and rows that are not finite contribute nothing.
        Returns ``[k]``; with ``by_class`` one sum a class, ``[classes, k]``, for the price
        of one: a record is in one class.

        Raises:
            NotPerRecord: some rows depend on the rest of their batch.
            DpbenchError: rows are missing, or the clip is not positive and finite.
        """

        def one_group(z: Tensor) -> tuple[Tensor, Tensor]:
            return z.new_ones(len(z), 1, dtype=torch.float64), contribution(z).double()

        mechanism = gaussian(name, noise_multiplier, clip, self.classes if by_class else 1)
        total = grouped_sum(self._session, one_group, mechanism).squeeze(-2).float()
        return total if by_class else total[0]

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

    def by_class(self) -> list[PrivateLatents]:
        """Return one handle for each class, in which all other records are null records.

        What is done with each of them is accounted once (parallel composition): a record
        is in one class. They must meet the same mechanisms. Without labels it is this handle.
        """
        return [session.handle for session in self._session.by_class()]

    def draws(self, name: str) -> NoiseSource:
        """Return free random numbers to be used while private records are processed.

        A loss or a view that needs noise for each record (a VAE's latent code, a
        randomly picked component) takes it from here: in a secure session the
        numbers come from the secret source, so that nobody can tell which met which
        record. The n-th call for a name gives that name's n-th stream.
        """
        return self._session.source(f"draws:{name}")

    def raw(self, mechanisms: Iterable[Mechanism], *, labelled: bool = False) -> Tensor:
        """Hand out the latents themselves; the trial becomes ``self-declared``.

        ``mechanisms`` is what the generator promises to do with them. The row of a
        null record is zero. With ``labelled`` one column a class follows the latents: 1 for
        the record's own, else 0.
        """
        session = self._session
        session.declare(mechanisms)
        if labelled:
            return beside_classes(session.latents, session.labels, session.classes)
        return session.latents.clone()

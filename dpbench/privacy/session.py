"""One trial's access to private latents: what the harness holds while a generator fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from dpbench.api import Context, derive_seed
from dpbench.errors import DpbenchError
from dpbench.privacy.accounting import Spent, compose
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.ledger import Ledger, Mechanism
from dpbench.privacy.mechanism import Evidence, Figures, GaussianUse, Tape
from dpbench.privacy.parallel import in_parallel
from dpbench.privacy.randomness import NoiseSource, RngMode, SecureSource, SeededSource

__all__ = ["PrivateSession"]


class PrivateSession:
    """Owns a trial's budget, ledger and noise streams; :attr:`handle` is what a generator gets.

    Args:
        latents: ``[N, d]``. A row that is not finite is a *null record*: it is drawn
            like any other and contributes nothing to any mechanism.
        budget: what may be spent.
        clip: the trial's L2 clip.
        context: device, free randomness and progress of the trial.
        noise_seed: root of all noise and samples of a seeded session; not to be found
            from ``context.seed``, which the generator knows.
        secure_rng: draw noise and samples from a cryptographically secure source.
        canaries: latents ``[m, d]`` whose traces an audit looks for.
        canary_labels: their classes ``[m]``, where there are labels.
        tape: listens to releases, to record or to replay them.
        labels: each record's class ``[N]`` in ``0..classes-1``, a private part of the
            record; whatever has another is a null record, and null records have none.
        classes: number of classes, public.

    Attributes:
        table: ``[N, d]``; where :attr:`shared`, rows of null records are not zero yet.
        labels: ``[N]``, -1 for null records; all 0 without labels.
        present: ``[N]``, False for null records.
        evidence: what an audit gathers; None outside audits.
        handle: the generator's side.
    """

    shared: ClassVar[bool] = False

    def __init__(
        self,
        latents: Tensor,
        budget: Budget,
        clip: float,
        context: Context,
        *,
        noise_seed: int,
        secure_rng: bool = False,
        canaries: Tensor | None = None,
        canary_labels: Tensor | None = None,
        tape: Tape | None = None,
        labels: Tensor | None = None,
        classes: int = 1,
    ) -> None:
        self.budget, self.clip, self.context, self.tape = budget, clip, context, tape
        self.classes = classes
        self.present = torch.isfinite(latents).all(1)
        if labels is None:
            labels = torch.zeros(len(latents), dtype=torch.int64)
        labels = labels.to(latents.device)
        self.present &= (labels >= 0) & (labels < classes)
        self.labels = labels.masked_fill(~self.present, -1)
        whole = bool(self.present.all())  # then lanes share one table: the tensor itself
        keep = whole or self.shared
        self.table = latents if keep else latents.masked_fill(~self.present[:, None], 0)
        self.secure_rng = secure_rng
        self.evidence = None if canaries is None else Evidence(canaries, self.table, canary_labels)
        self.handle = PrivateLatents(self)
        self._noise_seed = noise_seed
        self._mechanisms = Ledger(rng=self.rng_mode)
        self._uses: list[tuple[int, GaussianUse]] = []
        self._streams: Counter[str] = Counter()
        self._divisions: list[list[_ClassSession]] = []

    @property
    def size(self) -> int:
        """How many records there are, for all that is public."""
        return len(self.table)

    @property
    def latents(self) -> Tensor:
        """The latents ``[N, d]``, null records as zeros."""
        return self.rows(slice(None))

    def rows(self, rows: slice) -> Tensor:
        """Return some of the latents, null records as zeros."""
        latents = self.table[rows]
        return latents.masked_fill(~self.present[rows, None], 0) if self.shared else latents

    @property
    def rng_mode(self) -> RngMode:
        """``"seeded"`` (a benchmark) or ``"secure"`` (fit for a release)."""
        return "secure" if self.secure_rng else "seeded"

    @property
    def observed(self) -> bool:
        """Whether an audit or a tape looks at every step."""
        return self.evidence is not None or self.tape is not None

    @property
    def ledger(self) -> Ledger:
        """A copy of the ledger, with what is known of inclusions so far."""
        ledger = self._mechanisms.model_copy(deep=True)
        ledger.inclusions = [
            {"mechanism": float(entry), **use.figures()}
            for entry, use in self._uses
            if use.figures is not None
        ]
        for parts in self._divisions:
            ledger.add(in_parallel([part.ledger for part in parts]))
        return ledger

    @property
    def spent(self) -> Spent:
        """What the ledger comes to so far, at the budget's delta."""
        return compose(self.held, self.budget.delta)

    @property
    def held(self) -> list[Mechanism]:
        """All that a record of this session has met so far."""
        return self.ledger.mechanisms

    def by_class(self) -> Sequence[PrivateSession]:
        """Return one session for each class, in which all other records are null records.

        A record is in one of them, so that together they cost what one costs.
        """
        if self.classes == 1:
            return [self]
        held, turn = self.held, len(self._divisions)
        parts = [_ClassSession(self, number, turn, held) for number in range(self.classes)]
        self._divisions.append(parts)
        return parts

    def use(self, mechanism: Mechanism, figures: Figures | None = None) -> GaussianUse:
        """Enter ``mechanism`` into the ledger and return its only use."""
        use = GaussianUse(
            mechanism,
            len(self.table),
            self.source(mechanism.name),
            self.source(f"sampling:{mechanism.name}"),
            self.evidence,
            self.tape,
            figures,
        )
        self._mechanisms.record(mechanism)
        self._uses.append((len(self._mechanisms.mechanisms) - 1, use))
        return use

    def declare(self, mechanisms: Iterable[Mechanism]) -> None:
        """Enter what a generator says it will do with raw latents."""
        self._mechanisms.declare(mechanisms)

    def source(self, name: str) -> NoiseSource:
        """Return a stream that no other use of the latents shares.

        The n-th call for a name gives that name's n-th stream, whatever other
        mechanisms do in between.
        """
        turn = self._streams[name]
        self._streams[name] += 1
        if self.secure_rng:
            return SecureSource()
        return SeededSource("private-noise", self._noise_seed, name, turn)


class _ClassSession(PrivateSession):
    """One class of a session: its budget and streams, a ledger and a tape of its own.

    The table is the whole's, for a table a class would take as much again for each.
    """

    shared = True

    def __init__(
        self, whole: PrivateSession, number: int, turn: int, held: list[Mechanism]
    ) -> None:
        self._whole, self._before, self._name = whole, held, f"class {number}, {turn}"
        super().__init__(
            whole.table,
            whole.budget,
            whole.clip,
            replace(whole.context, seed=derive_seed(whole.context.seed, self._name)),
            noise_seed=0,  # all streams are the whole's
            secure_rng=whole.secure_rng,
            labels=torch.where(whole.labels == number, 0, -1),
            tape=None if whole.tape is None else whole.tape.part(turn, number),
        )
        if whole.evidence is not None:
            self.evidence = whole.evidence.of_class(number)

    @property
    def size(self) -> int:
        return max(1, round(len(self.table) / self._whole.classes))

    @property
    def held(self) -> list[Mechanism]:
        return [*self._before, *self.ledger.mechanisms]

    def use(self, mechanism: Mechanism, figures: Figures | None = None) -> GaussianUse:
        over = mechanism.model_copy(update={"classes": self._whole.classes})
        return super().use(over, figures)

    def declare(self, mechanisms: Iterable[Mechanism]) -> None:
        raise DpbenchError(
            "among raw latents those of one class cannot be told from null records: set "
            "conditional = True, and ask for raw(..., labelled=True)"
        )

    def source(self, name: str) -> NoiseSource:
        return self._whole.source(f"{name} ({self._name})")

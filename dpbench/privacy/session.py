"""One trial's access to private latents: what the harness holds while a generator fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import torch
from torch import Tensor

from dpbench.api import Context
from dpbench.privacy.accounting import Spent, compose
from dpbench.privacy.handle import Budget, PrivateLatents
from dpbench.privacy.ledger import Ledger, Mechanism
from dpbench.privacy.mechanism import Evidence, Figures, GaussianUse, Tape
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
        tape: listens to releases, to record or to replay them.

    Attributes:
        latents: ``[N, d]``, null records as zeros.
        present: ``[N]``, False for null records.
        evidence: what an audit gathers; None outside audits.
        handle: the generator's side.
    """

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
        tape: Tape | None = None,
    ) -> None:
        self.budget, self.clip, self.context, self.tape = budget, clip, context, tape
        self.present = torch.isfinite(latents).all(1)
        whole = bool(self.present.all())  # then lanes share one table: the tensor itself
        self.latents = latents if whole else latents.masked_fill(~self.present[:, None], 0)
        self.secure_rng = secure_rng
        self.evidence = None if canaries is None else Evidence(canaries, self.latents)
        self.handle = PrivateLatents(self)
        self._noise_seed = noise_seed
        self._mechanisms = Ledger(rng=self.rng_mode)
        self._uses: list[tuple[int, GaussianUse]] = []
        self._streams: Counter[str] = Counter()

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
        return ledger

    @property
    def spent(self) -> Spent:
        """What the ledger comes to so far, at the budget's delta."""
        return compose(self._mechanisms.mechanisms, self.budget.delta)

    def use(self, mechanism: Mechanism, figures: Figures | None = None) -> GaussianUse:
        """Enter ``mechanism`` into the ledger and return its only use."""
        use = GaussianUse(
            mechanism,
            len(self.latents),
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

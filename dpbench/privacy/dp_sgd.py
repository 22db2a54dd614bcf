"""DP-SGD for one ordinary ``torch.nn.Module``: the simple way to write a generator.

The harness draws the Poisson samples, clips each record's gradient, adds the
noise and keeps the ledger; the author brings a module and a loss per sample::

    def loss(module, batch):            # batch [B, d] -> [B]
        return (module(batch) - batch).square().sum(1)

    train(private, module, loss, torch.optim.Adam(module.parameters(), 1e-3),
          sampling_rate=0.05, steps=500)

:class:`PrivateGradient` is the same, one step at a time, for training loops that
do more than descend (a GAN adds the free gradient of generated samples).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dpbench.precision import full_precision
from dpbench.privacy.contributions import alone_differs, beside_classes, in_full
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.mechanism import Evidence
from dpbench.privacy.sampling import BLOCK_STEPS, InclusionCounter

__all__ = [
    "Engine",
    "PerSampleLoss",
    "PrivateGradient",
    "clipped_gradient_sum",
    "sample_gradients",
    "train",
]

Engine = Literal["functorch", "opacus"]
PerSampleLoss = Callable[[nn.Module, Tensor], Tensor]
"""Maps a module and a batch ``[B, ...]`` to one loss per sample, ``[B]``."""


def sample_gradients(
    module: nn.Module, loss: PerSampleLoss, batch: Tensor, engine: Engine
) -> Tensor:
    """Return each sample's gradient as one row, ``[B, P]``; no other tensor gets any.

    ``module`` must be a ``GradSampleModule`` for the engine ``"opacus"``.
    """
    if len(batch) == 0:
        return batch.new_zeros(0, sum(p.numel() for p in module.parameters() if p.requires_grad))
    parts = _opacus(module, loss, batch) if engine == "opacus" else _vmap(module, loss, batch)
    # Detached: else sums would hang on parameters that the loss takes from outside.
    return in_full(torch.cat([part.detach().flatten(1) for part in parts], 1))


def clipped_gradient_sum(
    module: nn.Module,
    loss: PerSampleLoss,
    batch: Tensor,
    clip: float,
    engine: Engine,
    weight: Tensor | None = None,
) -> Tensor:
    """Sum per-sample gradients clipped to L2 norm ``clip``, ``[P]``.

    Parameters follow each other in the module's order. A sample of ``weight``
    ``[B]`` zero, and one whose gradient is not finite, adds nothing.
    """
    return _sum(sample_gradients(module, loss, batch, engine), clip, weight)


def _sum(rows: Tensor, clip: float, weight: Tensor | None) -> Tensor:
    norms = torch.linalg.vector_norm(rows, dim=1)
    factor = (clip / norms.clamp_min(1e-30)).clamp_max(1)
    factor = factor if weight is None else factor * weight
    finite = torch.isfinite(rows).all(1)
    with full_precision():
        total: Tensor = torch.where(finite, factor, 0) @ rows.masked_fill(~finite[:, None], 0)
    return total


def _vmap(module: nn.Module, loss: PerSampleLoss, batch: Tensor) -> list[Tensor]:
    params = {k: p.detach() for k, p in module.named_parameters() if p.requires_grad}
    fixed = {k: p.detach() for k, p in module.named_parameters() if not p.requires_grad}
    fixed |= dict(module.named_buffers())

    def single(values: dict[str, Tensor], row: Tensor) -> Tensor:
        def call(*inputs: Any) -> Any:
            return torch.func.functional_call(module, {**fixed, **values}, inputs)

        return loss(_Called(call), row[None])[0]

    gradients = torch.func.vmap(torch.func.grad(single), (None, 0), randomness="different")
    return list(gradients(params, batch).values())


class _Called(nn.Module):
    """Stands in for a module whose parameters are given from outside."""

    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self._call = call

    def forward(self, *inputs: Any) -> Any:
        return self._call(*inputs)


def _opacus(module: nn.Module, loss: PerSampleLoss, batch: Tensor) -> list[Tensor]:
    tracked = [p for p in module.parameters() if p.requires_grad]
    for p in tracked:
        p.grad = p.grad_sample = None  # type: ignore[attr-defined]
    batch = batch.detach().requires_grad_()  # hooks of layers want a gradient to arrive
    total = loss(module, batch).sum()
    torch.autograd.backward(total, inputs=[batch, *tracked])  # and nothing else gets one
    found: list[Tensor] = []
    for p in tracked:
        sample = p.grad_sample  # type: ignore[attr-defined]
        found.append(sample if sample is not None else p.new_zeros(len(batch), *p.shape))
        p.grad = p.grad_sample = None  # type: ignore[attr-defined]
    return found


class PrivateGradient:
    """Writes noisy clipped mean gradients into ``module``'s ``.grad`` fields.

    The whole run enters the ledger when this is built. The sum is divided by the
    expected batch size. With the engine ``"functorch"`` the loss is called inside
    ``vmap``: it must not branch on values or use ``.item()``. With ``"opacus"``
    the module's layers must be ones that Opacus supports, and a few gradients of the
    first batch are compared with what the same records give alone.

    Null records and records whose gradient is not finite add nothing.

    Args:
        private: the handle; its clip bounds each record's gradient.
        sampling_rate: Poisson inclusion probability of a record per step.
        steps: how many gradients will be taken, at most.
        clip: overrides the trial's clip.
        view: maps latents ``[N, d]`` to what the loss sees ``[N, k]``, each row from
            its own record; applied once.
        randomness: standard normal numbers that each row of a batch gets appended, for
            losses that need noise: ``[B, k + randomness]``.
        labelled: put each record's class beside its latents, one column a class, before
            ``view``; without labels there is none.
        share: the part of what is left of the budget that the steps use up.
    """

    def __init__(
        self,
        private: PrivateLatents,
        module: nn.Module,
        loss: PerSampleLoss,
        *,
        sampling_rate: float,
        steps: int,
        clip: float | None = None,
        engine: Engine = "functorch",
        name: str = "dp-sgd",
        view: Callable[[Tensor], Tensor] | None = None,
        randomness: int = 0,
        labelled: bool = False,
        share: float = 1.0,
    ) -> None:
        self._session, self._module, self._loss, self._engine = (
            private._session, module, loss, engine,
        )  # fmt: skip
        self._tracked = _grad_sample_module(module) if engine == "opacus" else module
        self._view = view or (lambda latents: latents)
        self._labelled = labelled
        session = self._session
        self._rows = self._view(self._beside(session.latents, session.labels))
        self._counter = InclusionCounter(len(session.table), [sampling_rate])
        self._mechanism = Mechanism(
            name=name,
            noise_multiplier=private.noise_multiplier(sampling_rate, steps, share),
            sampling_rate=sampling_rate,
            count=steps,
            sensitivity=private.clip if clip is None else clip,
        )
        self._use = self._session.use(self._mechanism, self._counter.figures)
        self._sampler = self._use.sampler()
        self._draws, self._randomness = private.draws(name), randomness
        self._done = 0
        self._checked = engine != "opacus"  # vmap shows the loss one record at a time

    def step(self) -> None:
        """Take the next private gradient.

        Raises:
            NotAccounted: all the steps that were accounted are used up.
            NotPerRecord: a record's gradient depends on the rest of its batch.
        """
        self._use.begin()
        if self._done == 0:
            self._begin()
        picked = self._picked()
        batch = self._noised(self._rows[picked].to(_device(self._module)))
        gradients = sample_gradients(self._tracked, self._loss, batch, self._engine)
        self._check(batch, gradients)
        present = self._session.present[picked].to(gradients)
        self._counter.add(picked[None], torch.ones_like(picked[None], dtype=torch.bool))
        clip = self._mechanism.sensitivity
        noisy = self._use.release(_sum(gradients, clip, present))
        if self._use.evidence is not None:
            known = ~self._use.evidence.planted[picked].to(batch.device)
            background = _sum(gradients, clip, present * known)
            self._align(self._use.evidence, noisy - background)
        self._write(noisy / (self._mechanism.sampling_rate * self._session.size))

    def _picked(self) -> Tensor:
        """Return the records of the next batch, drawn a block of steps at a time."""
        turn = self._done % BLOCK_STEPS
        if turn == 0:
            block = self._sampler.block(min(BLOCK_STEPS, self._mechanism.count - self._done))
            self._batches = block.records.split(block.counts.tolist())
        self._done += 1
        picked: Tensor = self._batches[turn]
        return picked

    def _beside(self, latents: Tensor, labels: Tensor) -> Tensor:
        return beside_classes(latents, labels, self._session.classes if self._labelled else 1)

    def _noised(self, rows: Tensor) -> Tensor:
        if not self._randomness:
            return rows
        shape = (len(rows), self._randomness)
        return torch.cat([rows, self._draws.normal(shape, rows.device, rows.dtype)], 1)

    def _begin(self) -> None:
        """Look at no record first: what a layer keeps of its first batch tells of none.

        Inside ``vmap`` a layer cannot keep anything.
        """
        if self._engine == "opacus":
            nobody = self._rows.new_zeros(2, self._rows.shape[1] + self._randomness)
            sample_gradients(
                self._tracked, self._loss, nobody.to(_device(self._module)), self._engine
            )

    def _check(self, batch: Tensor, gradients: Tensor) -> None:
        """Look once, at the first batch in which one record could move another."""
        if self._checked or len(batch) < 2:
            return

        def alone(index: int) -> Tensor:
            row = batch[index : index + 1]
            return sample_gradients(self._tracked, self._loss, row, self._engine)

        alone_differs(self._mechanism.name, gradients, alone)
        self._checked = True

    def _align(self, evidence: Evidence, unexplained: Tensor) -> None:
        """Tell an audit how far the sum, less the records it knows, points toward canaries."""
        seen = self._view(self._beside(evidence.canaries, evidence.labels))
        canaries = self._noised(seen.to(unexplained.device))
        rows = sample_gradients(self._tracked, self._loss, canaries, self._engine)
        norms = torch.linalg.vector_norm(rows, dim=1)
        factor = (self._mechanism.sensitivity / norms.clamp_min(1e-30)).clamp_max(1)
        self._use.align(factor * (rows @ unexplained))

    def _write(self, mean: Tensor) -> None:
        trained = [p for p in self._module.parameters() if p.requires_grad]
        parts = mean.split([p.numel() for p in trained])
        for p, part in zip(trained, parts, strict=True):
            p.grad = part.view_as(p).to(p.dtype)


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def train(
    private: PrivateLatents,
    module: nn.Module,
    per_sample_loss: PerSampleLoss,
    optimizer: torch.optim.Optimizer,
    *,
    sampling_rate: float,
    steps: int,
    clip: float | None = None,
    engine: Engine = "functorch",
    name: str = "dp-sgd",
    labelled: bool = False,
) -> None:
    """Train ``module`` for ``steps`` private steps; see :class:`PrivateGradient`."""
    gradient = PrivateGradient(
        private,
        module,
        per_sample_loss,
        sampling_rate=sampling_rate,
        steps=steps,
        clip=clip,
        engine=engine,
        name=name,
        labelled=labelled,
    )
    for done in range(steps):
        gradient.step()
        optimizer.step()
        if done % 50 == 0:
            private.context.progress(done, steps)


def _grad_sample_module(module: nn.Module) -> nn.Module:
    from opacus.grad_sample import GradSampleModule

    return GradSampleModule(module, loss_reduction="sum")

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

from dpbench.errors import DpbenchError
from dpbench.privacy.handle import PrivateLatents
from dpbench.privacy.ledger import Mechanism
from dpbench.privacy.sampling import BLOCK_STEPS, InclusionCounter, PoissonSampler

__all__ = ["Engine", "PerSampleLoss", "PrivateGradient", "clipped_gradient_sum", "train"]

Engine = Literal["functorch", "opacus"]
PerSampleLoss = Callable[[nn.Module, Tensor], Tensor]
"""Maps a module and a batch ``[B, ...]`` to one loss per sample, ``[B]``."""


def clipped_gradient_sum(
    module: nn.Module, loss: PerSampleLoss, batch: Tensor, clip: float, engine: Engine
) -> list[Tensor]:
    """Sum per-sample gradients clipped to L2 norm ``clip``, parameter by parameter.

    ``module`` must be a ``GradSampleModule`` for the engine ``"opacus"``.
    """
    if len(batch) == 0:
        return [torch.zeros_like(p) for p in module.parameters() if p.requires_grad]
    samples = _opacus(module, loss, batch) if engine == "opacus" else _vmap(module, loss, batch)
    squares = torch.stack([g.flatten(1).square().sum(1) for g in samples]).sum(0)
    factor = (clip / squares.sqrt().clamp_min(1e-30)).clamp_max(1)
    return [torch.einsum("b,b...->...", factor, g) for g in samples]


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
    module.zero_grad(set_to_none=True)
    for p in module.parameters():
        p.grad_sample = None  # type: ignore[attr-defined]
    batch = batch.detach().requires_grad_()  # hooks of layers want a gradient to arrive
    loss(module, batch).sum().backward()
    found: list[Tensor] = []
    for p in module.parameters():
        if p.requires_grad:
            sample = p.grad_sample  # type: ignore[attr-defined]
            found.append(sample if sample is not None else p.new_zeros(len(batch), *p.shape))
    module.zero_grad(set_to_none=True)
    return found


class PrivateGradient:
    """Writes noisy clipped mean gradients into ``module``'s ``.grad`` fields.

    The whole run enters the ledger when this is built. The sum is divided by the
    expected batch size. With the engine ``"functorch"`` the loss is called inside
    ``vmap``: it must not branch on values or use ``.item()``. With ``"opacus"``
    the module's layers must be ones that Opacus supports.

    Args:
        private: the handle; its clip bounds each record's gradient.
        sampling_rate: Poisson inclusion probability of a record per step.
        steps: how many gradients will be taken, at most.
        clip: overrides the trial's clip.
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
    ) -> None:
        self._private, self._module, self._loss, self._engine = private, module, loss, engine
        self._tracked = _grad_sample_module(module) if engine == "opacus" else module
        self._clip = private.clip if clip is None else clip
        self._rate, self._steps, self._done = sampling_rate, steps, 0
        self._sigma = private.noise_multiplier(sampling_rate, steps)
        private.ledger.record(
            Mechanism(
                name=name,
                noise_multiplier=self._sigma,
                sampling_rate=sampling_rate,
                count=steps,
                sensitivity=self._clip,
            )
        )
        self._entry = len(private.ledger.mechanisms) - 1
        self._noise = private.noise_source(name)
        self._sampler = PoissonSampler(
            private.size, sampling_rate, private.noise_source(f"sampling:{name}")
        )
        self._counter = InclusionCounter(private.size, sampling_rate)

    def step(self) -> None:
        """Take the next private gradient.

        Raises:
            DpbenchError: all the steps that were accounted are used up.
        """
        if self._done == self._steps:
            raise DpbenchError(f"only {self._steps} private steps were accounted")
        if self._done % BLOCK_STEPS == 0:
            block = self._sampler.block(min(BLOCK_STEPS, self._steps - self._done))
            self._counter.add(block)
            self._batches = block.records.split(block.counts.tolist())
        device = next(self._module.parameters()).device
        batch = self._private._latents[self._batches[self._done % BLOCK_STEPS]].to(device)
        sums = clipped_gradient_sum(self._tracked, self._loss, batch, self._clip, self._engine)
        scale = 1 / (self._rate * self._private.size)
        trained = [p for p in self._module.parameters() if p.requires_grad]
        if self._sigma > 0:
            for p, total in zip(trained, sums, strict=True):
                noise = self._noise.normal(p.shape, p.device, p.dtype)
                total.add_(noise, alpha=self._sigma * self._clip)
        if self._private.canaries is not None:
            self._align(batch, self._private.canaries.to(device), sums)
        for p, total in zip(trained, sums, strict=True):
            p.grad = total.mul_(scale)
        self._done += 1
        if self._done == self._steps:
            figures = self._counter.figures(self._entry)
            self._private.ledger.inclusions.append(figures)

    def _align(self, batch: Tensor, canaries: Tensor, noisy: list[Tensor]) -> None:
        """Tell an audit how far the sum, less the records it knows, points toward canaries."""
        picked = self._batches[self._done % BLOCK_STEPS]
        known = batch[~self._private.planted[picked].to(batch.device)]
        background = clipped_gradient_sum(
            self._tracked, self._loss, known, self._clip, self._engine
        )
        unexplained = [total - part for total, part in zip(noisy, background, strict=True)]
        products = [
            sum(float((g * u).sum()) for g, u in zip(own, unexplained, strict=True))
            for own in (
                clipped_gradient_sum(self._tracked, self._loss, c[None], self._clip, self._engine)
                for c in canaries
            )
        ]
        self._private.align(torch.tensor(products), self._sigma * self._clip, self._rate)


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
    )
    for done in range(steps):
        gradient.step()
        optimizer.step()
        if done % 50 == 0:
            private.context.progress(done, steps)


def _grad_sample_module(module: nn.Module) -> nn.Module:
    from opacus.grad_sample import GradSampleModule

    return GradSampleModule(module, loss_reduction="sum")

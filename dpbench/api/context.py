"""What the harness lends a stage: a device, named randomness, progress."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Context", "derive_seed"]


def derive_seed(*parts: object) -> int:
    """Derive a 63-bit seed from named parts; distinct parts give unrelated seeds.

    >>> derive_seed("samples", 0) == derive_seed("samples", 0)
    True
    >>> derive_seed("samples", 0) == derive_seed("samples", 1)
    False
    """
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@dataclass(frozen=True)
class Context:
    """What the harness lends a stage: a device, named randomness, progress.

    Args:
        seed: seed of this stage; :meth:`generator` derives streams from it.
        device: where tensors should live.
        on_progress: receives the fraction done, in ``[0, 1]``.
        on_snapshot: receives a step and a few latents ``[n, d]`` sampled at it.

    >>> context = Context(seed=7)
    >>> first = torch.rand(2, generator=context.generator("start"))
    >>> bool((first == torch.rand(2, generator=context.generator("start"))).all())
    True
    """

    seed: int
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    on_progress: Callable[[float], None] = lambda _fraction: None
    on_snapshot: Callable[[int, Tensor], None] = lambda _step, _latents: None

    def generator(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """Return a fresh generator for ``name``; equal names give equal streams."""
        return torch.Generator(device).manual_seed(derive_seed(self.seed, name))

    def progress(self, done: int, total: int) -> None:
        """Report that ``done`` of ``total`` units of work are finished."""
        self.on_progress(done / max(total, 1))

    def snapshot(self, step: int, latents: Tensor) -> None:
        """Keep what a generator samples at ``step``, for pictures of its training.

        ``latents`` is ``[n, d]``, n at most 10, from the same input noise each time.
        """
        self.on_snapshot(step, latents.detach().float().cpu())

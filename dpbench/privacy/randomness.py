"""Where noise and sampling come from: seeded (a benchmark) or secure (a release).

``seeded``
    Each mechanism use draws from its own stream, derived from the trial's noise
    seed, which generators are not told. Runs repeat exactly. Whoever knows the seed
    can subtract the noise, and torch's generators are predictable: **a seeded run
    is a benchmark, not a release**.

``secure``
    Noise and Poisson sampling come from ChaCha20, keyed by the operating
    system's entropy (package ``randomgen``, extra ``secure``). Nothing of the
    key is kept, so the run cannot be repeated. Each Gaussian is the scaled sum
    of four, and is added in float64 before anything is rounded to float32, which
    hides the gaps between floating-point values that Mironov (2012) exploits
    (Holohan and Braghin 2021; Opacus sums four as well).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dpbench.api import derive_seed
from dpbench.errors import DpbenchError

__all__ = [
    "NoiseSource",
    "RngMode",
    "SecureSource",
    "SecureUnavailable",
    "SeededSource",
    "fill_normal",
]

RngMode = Literal["seeded", "secure"]


class SecureUnavailable(DpbenchError):
    """The secure source's package is missing; names the extra that brings it."""

    def __init__(self) -> None:
        super().__init__("secure_rng needs the package randomgen: pip install 'dpbench[secure]'")


class NoiseSource(ABC):
    """One stream of Gaussian and uniform numbers, used by one mechanism."""

    mode: ClassVar[RngMode]

    @abstractmethod
    def normal(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw N(0, 1) numbers of ``shape`` on ``device``."""

    @abstractmethod
    def uniform(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Draw numbers in [0, 1) of ``shape`` on ``device``."""


class SeededSource(NoiseSource):
    """Repeatable: a generator per device, seeded from ``parts``."""

    mode = "seeded"

    def __init__(self, *parts: object) -> None:
        self._seed = derive_seed(*parts)
        self._generators: dict[torch.device, torch.Generator] = {}

    def generator(self, device: torch.device | str = "cpu") -> torch.Generator:
        """Return this stream's generator on ``device``, where it left off."""
        device = torch.device(device)
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self._seed)
        return self._generators[device]

    def normal(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        return torch.randn(
            tuple(shape), generator=self.generator(device), device=device, dtype=dtype
        )

    def uniform(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        return torch.rand(
            tuple(shape), generator=self.generator(device), device=device, dtype=dtype
        )


class SecureSource(NoiseSource):
    """Unpredictable and unrepeatable: ChaCha20 with a 256-bit key from the system.

    Raises:
        SecureUnavailable: ``randomgen`` is not installed.
    """

    mode = "secure"

    def __init__(self) -> None:
        import secrets

        import numpy as np

        try:
            from randomgen import ChaCha
        except ImportError as missing:
            raise SecureUnavailable from missing
        bits: Any = ChaCha(key=secrets.randbits(256), rounds=20)
        self._numpy = np.random.Generator(bits)

    def normal(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        total = self._numpy.standard_normal((4, *shape)).sum(0) / 2
        return torch.as_tensor(total, dtype=dtype).to(device)

    def uniform(
        self,
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        # As many bits as the mantissa holds: rounding up could otherwise give 1.0.
        bits = 53 if dtype == torch.float64 else 24
        whole: Tensor = torch.as_tensor(self._numpy.integers(0, 2**bits, size=tuple(shape)))
        fraction: Tensor = whole.double() / 2**bits
        return fraction.to(dtype).to(device)


def fill_normal(source: NoiseSource, out: Tensor) -> Tensor:
    """Fill ``out`` with N(0, 1) numbers, in place where the source allows it."""
    if isinstance(source, SeededSource):
        return out.normal_(generator=source.generator(out.device))
    return out.copy_(source.normal(out.shape, out.device, out.dtype))

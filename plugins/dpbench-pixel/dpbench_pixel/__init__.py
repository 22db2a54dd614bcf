"""DP-GAN on pixels: what a private generator reaches without a public model.

Xie, Lin, Wang, Wang and Zhou 2018, "Differentially private generative adversarial network".
"""

from __future__ import annotations

from collections.abc import Callable

from dpbench import hookimpl
from dpbench.api import Extractor, PrivateGenerator, PublicModel
from dpbench_pixel.gan import DPGAN, DPGANParams
from dpbench_pixel.pixels import PixelExtractor, Pixels

__all__ = [
    "DPGAN",
    "DPGANParams",
    "PixelExtractor",
    "Pixels",
    "register_extractors",
    "register_generators",
    "register_public_models",
]


@hookimpl
def register_public_models(register: Callable[[type[PublicModel]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(Pixels)


@hookimpl
def register_extractors(register: Callable[[type[Extractor]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(PixelExtractor)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    """Called by dpbench once the package is installed."""
    register(DPGAN)

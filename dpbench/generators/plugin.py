"""Registers the built-in private generators."""

from __future__ import annotations

from collections.abc import Callable

from dpbench.api import PrivateGenerator
from dpbench.generators.gan import GAN
from dpbench.generators.vae import VAE
from dpbench.hookspecs import hookimpl


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    register(GAN)
    register(VAE)

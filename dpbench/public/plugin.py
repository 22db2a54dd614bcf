"""Registers the built-in public models."""

from __future__ import annotations

from collections.abc import Callable

from dpbench.api import PublicModel
from dpbench.hookspecs import hookimpl
from dpbench.public.ae import Autoencoder
from dpbench.public.wgan import WGAN


@hookimpl
def register_public_models(register: Callable[[type[PublicModel]], None]) -> None:
    register(Autoencoder)
    register(WGAN)

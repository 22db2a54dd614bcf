"""Registers the built-in data sets, the way any plugin does."""

from __future__ import annotations

from collections.abc import Callable

from dpbench.api import Dataset
from dpbench.datasets.folder import Folder
from dpbench.datasets.garments import Garments
from dpbench.datasets.glyphs import Glyphs
from dpbench.datasets.mnist import FashionMnist, Mnist
from dpbench.datasets.npz import Npz
from dpbench.hookspecs import hookimpl

__all__ = ["register_datasets"]


@hookimpl
def register_datasets(register: Callable[[type[Dataset]], None]) -> None:
    """Hand over the built-in data sets."""
    register(Mnist)
    register(FashionMnist)
    register(Glyphs)
    register(Garments)
    register(Npz)
    register(Folder)

"""Registers the built-in extractors."""

from __future__ import annotations

from collections.abc import Callable

from dpbench.api import Extractor
from dpbench.extractors.encoder import EncoderExtractor
from dpbench.extractors.gradient import GradientExtractor, ProjectedGradientExtractor
from dpbench.hookspecs import hookimpl


@hookimpl
def register_extractors(register: Callable[[type[Extractor]], None]) -> None:
    register(EncoderExtractor)
    register(GradientExtractor)
    register(ProjectedGradientExtractor)

"""Registers the built-in evaluators, the way any plugin does."""

from __future__ import annotations

from collections.abc import Callable

from dpbench.api import Evaluator
from dpbench.hookspecs import hookimpl
from dpbench.metrics.evaluators.domain import DomainEvaluator
from dpbench.metrics.evaluators.inception import InceptionEvaluator


@hookimpl
def register_evaluators(register: Callable[[type[Evaluator]], None]) -> None:
    register(DomainEvaluator)
    register(InceptionEvaluator)

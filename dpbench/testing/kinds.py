"""The subject of each kind of plugin, and all checks."""

from __future__ import annotations

from dpbench.testing import (  # they fill CHECKS
    audits,
    every_kind,
    generator_labels,
    generator_privacy,
    generators,
)
from dpbench.testing.datasets import DatasetSubject
from dpbench.testing.evaluators import EvaluatorSubject
from dpbench.testing.executors import ExecutorSubject
from dpbench.testing.extractors import ExtractorSubject
from dpbench.testing.generator_subject import GeneratorSubject
from dpbench.testing.metrics import MetricSubject
from dpbench.testing.public_models import PublicModelSubject
from dpbench.testing.subject import Subject

__all__ = ["SUBJECTS"]

_FILLED = (every_kind, generators, generator_privacy, generator_labels, audits)

SUBJECTS: dict[str, type[Subject]] = {
    "dataset": DatasetSubject,
    "public": PublicModelSubject,
    "extractor": ExtractorSubject,
    "generator": GeneratorSubject,
    "metric": MetricSubject,
    "evaluator": EvaluatorSubject,
    "executor": ExecutorSubject,
}

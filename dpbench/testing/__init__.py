"""Conformance kits: whether a plugin keeps what its kind promises.

``dpbench check NAME`` runs one from the command line, :func:`check` from Python, and the
pytest classes one test for each check::

    from dpbench.testing import GeneratorKit

    class TestMine(GeneratorKit):
        plugin = Mine

How well a generator learns is its own tests' affair: :func:`fit` fits one to latents.
"""

from dpbench.testing.checks import CHECKS, Broken, Check, NotRun
from dpbench.testing.fits import Fit, fit
from dpbench.testing.kits import (
    DatasetKit,
    EvaluatorKit,
    ExecutorKit,
    ExtractorKit,
    GeneratorKit,
    Kit,
    MetricKit,
    PublicModelKit,
)
from dpbench.testing.report import Report, Result
from dpbench.testing.run import BadDeclaration, NeedsParams, check

__all__ = [
    "CHECKS",
    "BadDeclaration",
    "Broken",
    "Check",
    "DatasetKit",
    "EvaluatorKit",
    "ExecutorKit",
    "ExtractorKit",
    "Fit",
    "GeneratorKit",
    "Kit",
    "MetricKit",
    "NeedsParams",
    "NotRun",
    "PublicModelKit",
    "Report",
    "Result",
    "check",
    "fit",
]

"""Kits as pytest classes: one test for each check."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from dpbench.testing.checks import CHECKS, Check
from dpbench.testing.run import declared, run_check, subject_of
from dpbench.testing.subject import Subject

__all__ = [
    "DatasetKit",
    "EvaluatorKit",
    "ExecutorKit",
    "ExtractorKit",
    "GeneratorKit",
    "Kit",
    "MetricKit",
    "PublicModelKit",
]


class Kit:
    """Base of all kits: derive a class ``Test…`` and name the plugin::

        class TestMine(GeneratorKit):
            plugin = Mine

    Attributes:
        plugin: the class to check.
        params: hyperparameters; ``None``: the plugin's ``check_params``.
        expected: reasons, by check, why it fails; ``None``: the plugin's ``expected_failures``.
    """

    kind: ClassVar[str]
    plugin: ClassVar[type[Any]]
    params: ClassVar[Mapping[str, Any] | None] = None
    expected: ClassVar[Mapping[str, str] | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "kind" in vars(cls):
            for check in CHECKS[cls.kind]:
                setattr(cls, _test_name(check), _test(check))

    @classmethod
    @functools.cache
    def subject(cls) -> Subject:
        """What the tests of this class share."""
        return subject_of(cls.plugin, cls.kind, cls.params)


def _test_name(check: Check) -> str:
    return "test_" + check.name.replace("-", "_")


def _test(check: Check) -> Callable[[Kit], None]:
    def test(self: Kit) -> None:
        import pytest

        reasons = declared(self.plugin, self.kind, self.expected)
        result = run_check(check, self.subject(), reasons.get(check.name))
        if result.outcome == "skipped":
            pytest.skip(result.reason)
        if result.outcome == "expected":
            pytest.xfail(result.reason)
        if result.outcome == "failed":
            pytest.fail(f"{check.promise} {result.reason}", pytrace=False)

    test.__doc__ = check.promise
    return test


class DatasetKit(Kit):
    """What every data set promises."""

    kind = "dataset"


class PublicModelKit(Kit):
    """What every public model promises."""

    kind = "public"


class ExtractorKit(Kit):
    """What every extractor promises."""

    kind = "extractor"


class GeneratorKit(Kit):
    """What every private generator promises."""

    kind = "generator"


class MetricKit(Kit):
    """What every metric promises."""

    kind = "metric"


class EvaluatorKit(Kit):
    """What every evaluator promises."""

    kind = "evaluator"


class ExecutorKit(Kit):
    """What every executor promises."""

    kind = "executor"

"""Runs the checks of a plugin class."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from dpbench.api import Unlabelled
from dpbench.errors import DpbenchError, UnknownName, one_line
from dpbench.executors.state import ProcessState
from dpbench.testing import kinds
from dpbench.testing.checks import CHECKS, Check, NotRun
from dpbench.testing.report import Report, Result
from dpbench.testing.subject import Subject

__all__ = ["BadDeclaration", "NeedsParams", "check", "declared", "run_check", "subject_of"]


class BadDeclaration(DpbenchError):
    """An expected failure of a check that does not exist, or without a reason."""


class NeedsParams(DpbenchError):
    """Hyperparameters that the plugin needs, or refuses; names them all."""

    def __init__(self, name: str, error: ValidationError) -> None:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        super().__init__(
            f"{name} cannot be made with these hyperparameters ({faults}): give --param "
            "KEY=VALUE, or set the class's check_params"
        )


def check(
    plugin: type[Any],
    kind: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    expected: Mapping[str, str] | None = None,
) -> Report:
    """Run every check of the plugin's kind and return how each ended.

    Args:
        plugin: the class.
        kind: what it is to be, where the class does not say.
        params: hyperparameters; by default its ``check_params``, with the lengths of
            training lowered.
        expected: reasons, by check, why it fails; by default its ``expected_failures``.

    Raises:
        BadDeclaration: ``expected`` names no check, or gives no reason.
        NeedsParams: the hyperparameters are not valid.

    >>> from dpbench.metrics.plugin import FidMetric
    >>> check(FidMetric).ok
    True
    """
    results = tuple(_results(plugin, kind, params, expected))
    return Report(_name(plugin), _kind(plugin, kind), results)


def _results(
    plugin: type[Any],
    kind: str | None,
    params: Mapping[str, Any] | None,
    expected: Mapping[str, str] | None,
) -> Iterator[Result]:
    subject = subject_of(plugin, kind, params)
    reasons = declared(plugin, kind, expected)
    for each in CHECKS[_kind(plugin, kind)]:
        yield run_check(each, subject, reasons.get(each.name))


def subject_of(
    plugin: type[Any], kind: str | None = None, params: Mapping[str, Any] | None = None
) -> Subject:
    """Return what the checks of ``plugin`` share."""
    given = getattr(plugin, "check_params", {}) if params is None else params
    subject = kinds.SUBJECTS[_kind(plugin, kind)](plugin, given)
    try:
        _ = subject.params
    except ValidationError as error:
        raise NeedsParams(_name(plugin), error) from error
    except Exception:  # not even a class of hyperparameters: the first check tells
        pass
    return subject


def declared(
    plugin: type[Any], kind: str | None = None, expected: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the reasons, by check, why ``plugin`` is expected to fail it."""
    reasons = getattr(plugin, "expected_failures", {}) if expected is None else expected
    known = {each.name for each in CHECKS[_kind(plugin, kind)]}
    for name, reason in reasons.items():
        if name not in known:
            raise UnknownName("check", name, known)
        if not str(reason).strip():
            raise BadDeclaration(f"the expected failure of {name!r} has no reason: say why")
    return dict(reasons)


def run_check(each: Check, subject: Subject, expected: str | None = None) -> Result:
    """Run one check on one thread, as a worker does by default.

    Whatever the plugin changes in the process is put back.
    """
    state, started = ProcessState(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        result = _tried(each, subject)
    finally:
        state.restore()
    result = replace(result, seconds=time.perf_counter() - started)
    if expected is None or result.outcome == "skipped":
        return result
    if result.outcome == "passed":
        gone = f"it passes, though it was expected to fail ({expected}): drop the declaration"
        return replace(result, outcome="failed", reason=gone)
    return replace(result, outcome="expected", reason=f"{expected} ({result.reason})")


def _tried(each: Check, subject: Subject) -> Result:
    try:
        figures = each.run(subject)
    except (NotRun, Unlabelled) as reason:  # the kit's samples have no labels
        return Result(each.name, each.promise, "skipped", one_line(reason))
    except DpbenchError as problem:
        return Result(each.name, each.promise, "failed", one_line(problem))
    except KeyboardInterrupt:  # the user's; what a check raises does not come this far
        raise
    except BaseException as error:  # a stranger's code may raise anything
        raised = f"{type(error).__name__}: {one_line(error)}{_where(error)}"
        return Result(each.name, each.promise, "failed", raised)
    return Result(each.name, each.promise, "passed", figures=figures or {})


def _where(error: BaseException) -> str:
    """Say which line outside dpbench raised ``error``."""
    ours = str(Path(__file__).parents[1])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if ours not in f.filename]
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _name(plugin: type[Any]) -> str:
    return str(getattr(plugin, "name", getattr(plugin, "__name__", plugin)))


def _kind(plugin: type[Any], kind: str | None) -> str:
    found = kind or getattr(plugin, "kind", None)
    if found not in CHECKS:
        raise UnknownName("kind of plugin", str(found), CHECKS)
    return str(found)

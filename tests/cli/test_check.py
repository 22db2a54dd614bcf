"""``dpbench check``: what it finds, what it could not try, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

Run = Callable[..., Result]
Distribution = Callable[..., Path]

FAULTY = """
    from dpbench import hookimpl
    from dpbench.api import Column, Metric

    print("a plugin that talks while it is loaded")

    class Share(Metric):
        '''Share of bright pixels, in per cent by mistake.'''
        name = "share"
        columns = {{"share": Column("none", high=1.0)}}
        {declared}

        def compute(self, generated, references, context):
            print("a plugin that talks while it works")
            return {{"share": 100 * float((generated.images > 127).float().mean())}}

    @hookimpl
    def register_metrics(register):
        register(Share)
"""
REASON = "it counts per cent"


def install(distribution: Distribution, declared: str = "") -> None:
    distribution("dpbench-share", code=FAULTY.format(declared=declared))


def test_a_sound_plugin_passes_and_what_was_not_run_is_said(dpbench: Run) -> None:
    found = dpbench("check", "fid")
    assert found.exit_code == 0, found.output
    assert "metric fid: 19 checks: 16 passed, 0 failed, 0 expected, 3 skipped" in found.output
    assert "not run: reports-progress-in-order: it reports no progress" in found.output
    assert dpbench("check", "fid", "--strict").exit_code == 1


def test_a_fault_is_named_with_what_shows_it(dpbench: Run, distribution: Distribution) -> None:
    install(distribution)
    found = dpbench("check", "share")
    assert found.exit_code == 1
    assert "stays-in-its-range" in found.output
    assert "outside its range" in found.output
    assert "talks" not in found.stdout


def test_a_declared_failure_is_counted_and_one_that_is_gone_fails(
    dpbench: Run, distribution: Distribution
) -> None:
    install(distribution, f"expected_failures = {{'stays-in-its-range': '{REASON}'}}")
    found = dpbench("check", "share", "--format", "json")
    assert found.exit_code == 0, found.output
    (report,) = json.loads(found.stdout)
    assert report["distribution"] == "dpbench-share"
    assert report["counts"]["expected"] == 1
    assert REASON in next(r["reason"] for r in report["results"] if r["outcome"] == "expected")
    assert set(report["counts"]) == {"passed", "failed", "expected", "skipped"}


@pytest.mark.parametrize(
    ("declared", "reason"),
    [
        ("expected_failures = {'returns-its-columns': 'who knows'}", "drop the declaration"),
        ("expected_failures = {'stays-in-range': 'x'}", "did you mean 'stays-in-its-range'?"),
        ("expected_failures = {'stays-in-its-range': ' '}", "is not a dict of reasons"),
    ],
)
def test_declarations_that_are_not_true_fail(
    dpbench: Run, distribution: Distribution, declared: str, reason: str
) -> None:
    install(distribution, declared)
    found = dpbench("check", "share")
    assert found.exit_code != 0
    assert reason in found.output


def test_a_distribution_is_checked_whole(dpbench: Run, distribution: Distribution) -> None:
    install(distribution)
    found = dpbench("check", "dpbench-share")
    assert "metric share: " in found.output


def test_an_unknown_plugin_suggests_the_nearest_and_a_broken_one_says_why(
    dpbench: Run, distribution: Distribution
) -> None:
    found = dpbench("check", "fidd")
    assert (found.exit_code, "did you mean 'fid'?" in found.output) == (2, True)
    distribution("dpbench-mine", code="import no_such_package")
    found = dpbench("check", "dpbench-mine")
    assert found.exit_code == 2
    assert "No module named 'no_such_package'" in found.output


def test_hyperparameters_that_are_needed_or_refused_are_named(dpbench: Run) -> None:
    found = dpbench("check", "npz")
    assert (found.exit_code, "path: Field required" in found.output) == (2, True)
    found = dpbench("check", "kid", "-p", "subset_size=1")
    assert (found.exit_code, "subset_size: Input should be greater" in found.output) == (2, True)
    assert dpbench("check", "kid", "-p", "subset_size=40").exit_code == 0
    assert dpbench("check", "kid", "-p", "subset_size").exit_code == 2

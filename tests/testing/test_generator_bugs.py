"""Bugs planted in a private generator: which check catches which.

Where a bug is one of the patterns that others found in real libraries it says so:
``RP`` are those of Re:cord-play (Cebere et al., PoPETs 2026), ``JP`` the pitfalls called
critical in JAX-Privacy's guide.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dpbench.api import PrivateGenerator
from dpbench.testing import CHECKS, check
from dpbench.testing.run import run_check, subject_of

from . import generator_bugs as bugs

#: Bug, the check that catches it, and a word of the reason that it gives.
TABLE: list[tuple[type[PrivateGenerator], str, str]] = [
    (bugs.FitWithoutContext, "can-be-registered", "does not take"),
    (bugs.ParamsThatJsonCannotHold, "hyperparameters-survive-json", "serial"),
    (bugs.GlobalNoise, "repeats-under-a-seed", "differs"),
    (bugs.SeedsEverything, "leaves-global-randomness-alone", "torch, numpy, Python"),
    (bugs.ManyThreads, "leaves-the-process-as-it-was", "number of threads, environment"),
    (bugs.CentresPublicInPlace, "leaves-what-it-is-lent", "public"),
    (bugs.BackwardProgress, "reports-progress-in-order", "3"),
    (bugs.CannotBeInterrupted, "stops-when-interrupted", "goes on"),
    (bugs.CannotBeInterrupted, "stops-within-a-release", "goes on"),
    (bugs.AllPairs, "takes-moderate-time-and-memory", "GiB"),
    (bugs.SlowSteps, "a-private-step-is-quick", "a step"),
    (bugs.FlatSamples, "samples-are-latents", "shape"),
    (bugs.EvenSizesOnly, "latents-of-any-size", "63"),
    (bugs.WholeBatchesOnly, "any-number-of-records", "ZeroDivisionError"),
    (bugs.NeedsSpread, "records-that-are-all-alike", "cholesky"),
    (bugs.CountsNullRecords, "null-records", "NaN"),
    (bugs.SamplesFromASeed, "samples-follow-their-generator", "all generators"),
    (bugs.SamplesGlobally, "samples-follow-their-generator", "same generator"),
    (bugs.SamplingMoves, "sampling-changes-nothing", "extra"),
    (bugs.ForgetsHalf, "state-survives-the-store", "restored"),
    (bugs.CopiesTheFirstLane, "alone-as-beside-others", "mean"),
    (bugs.WholeSnapshots, "snapshots-are-a-few-latents", "64"),
    (bugs.ThirdOfTheNoise, "keeps-its-budget", "spent epsilon"),  # RP: noise miscalibrated
    (bugs.BareLayer, "keeps-its-budget", "spent epsilon"),  # RP: a part without noise
    (bugs.BareLayer, "with-a-given-noise", "no noise"),
    (bugs.HalfUnspent, "uses-its-budget", "of its budget"),
    (bugs.AlwaysNoisy, "without-noise", "adds noise"),
    (bugs.IgnoresTheGivenNoise, "with-a-given-noise", "asked for noise of 1.5"),
    (bugs.LogOfACount, "next-to-nothing-to-spend", "NaN"),
    (bugs.LearnsNothing, "keeps-its-budget", "without any mechanism"),
    (bugs.LearnsNothing, "another-seed-is-another-fit", "same state"),
    (bugs.WantsTheSeed, "releases-in-secure-mode", "generator"),
    (bugs.BatchStatistics, "keeps-its-budget", "alone differs"),  # JP: cross-example operations
    (bugs.ClipsTheMean, "keeps-its-budget", "alone differs"),  # JP: division by batch size
    (bugs.Accumulates, "keeps-its-budget", "private steps"),  # JP: gradient accumulation
    (bugs.ShufflesBatches, "keeps-its-budget", "Poisson"),  # JP, RP: accounted as Poisson
    (bugs.TenfoldClip, "a-small-audit-does-not-refute-it", "claims"),  # JP, RP: sensitivity
    (bugs.FixedNoise, "another-seed-is-another-fit", "same state"),  # RP: fixed seed
    (bugs.FixedNoise, "a-small-audit-does-not-refute-it", "claims"),
    (bugs.ClipFromTheData, "replays", "clip"),  # RP: bounds taken from private data
    (bugs.CountsRecords, "replays", "extra"),  # JP: private metadata, neighbouring relation
    (bugs.ReportsTheLoss, "replays", "progress"),  # JP: auxiliary information
    (bugs.ShowsRecords, "replays", "private record"),
    (bugs.StopsWhenItFits, "replays", "releases"),  # RP: control flow by private data
    (bugs.RaisesOnBadRecords, "replays", "fail"),  # JP: non-finite and odd records
    (bugs.SubtractsTheNoise, "replays", "noise is known"),
    (bugs.Memorises, "replays", "private record"),
    (bugs.OneNoiseForAll, "replays", "noise"),  # RP: noise used again
    (bugs.IgnoresLabels, "samples-follow-their-labels", "two classes"),
    (bugs.KeepsOneClass, "labelled-state-survives", "class 1"),
    (bugs.OneLatentAClass, "samples-follow-their-labels", "shape"),
    (bugs.BuysEachClass, "samples-follow-their-labels", "spent epsilon"),
    (bugs.CountsClasses, "replays-with-labels", "state"),  # JP: private metadata
    (bugs.DividesByClasses, "replays-with-labels", "mean"),
]
ON_CUDA = "computes-where-it-is-told"


def found(bug: Any, name: str) -> Any:
    each = next(c for c in CHECKS["generator"] if c.name == name)
    return run_check(each, subject_of(bug, "generator"))


@pytest.mark.parametrize(
    ("bug", "name", "word"), TABLE, ids=[f"{bug.__name__}: {name}" for bug, name, _ in TABLE]
)
def test_a_planted_bug_is_caught(bug: Any, name: str, word: str) -> None:
    result = found(bug, name)
    assert (result.outcome, word in result.reason) == ("failed", True), result.reason


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_stays_on_the_device_is_caught() -> None:
    result = found(bugs.OnlyOnCpu, ON_CUDA)
    assert "is left on cuda" in result.reason
    assert found(bugs.Honest, ON_CUDA).outcome == "passed"


def test_every_check_has_a_bug() -> None:
    caught = {name for _, name, _ in TABLE} | {ON_CUDA}
    assert caught == {each.name for each in CHECKS["generator"]}


@pytest.mark.parametrize("cls", [bugs.Honest, bugs.HonestByClass, bugs.HonestDeclared])
def test_honest_generators_raise_no_alarm(cls: type[PrivateGenerator]) -> None:
    report = check(cls)
    assert report.ok, str(report)
    assert len(report.skipped) <= 6, str(report)

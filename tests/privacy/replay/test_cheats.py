"""Which check catches which cheat, and which none does; docs/replay.md repeats the table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from dpbench import plugins
from dpbench.api import Context
from dpbench.component import Component
from dpbench.plugins import Registered, Registry
from dpbench.privacy.status import privacy_problem
from dpbench.stages import GeneratorTask, Lane
from dpbench.store import Artifact, Store

from . import cheats
from .small import CLIP, DELTA, EPSILON, PRIVATE, PUBLIC, Animal, replayed

DOCUMENT = Path(__file__).parents[3] / "docs" / "replay.md"


EXECUTORS = Path(__file__).parents[2] / "executors" / "test_local.py"
ENDINGS = {
    "its process ended with code 0": (
        "test_whatever_ends_a_worker_is_noticed_at_once_and_costs_its_own_trial"
    ),
    "an endless sleep": "test_hanging_greedy_and_dying_trials_are_stopped_and_the_rest_goes_on",
}
"""What the executor notices, and the test that proves it: a worker must end for that."""


class Cheat(NamedTuple):
    """A row of the table: in words, by whom, and what is said of it by which check."""

    words: str
    generator: type[Animal]
    caught: dict[str, str]


TABLE = [
    Cheat("0.3 of the noise, asked for", cheats.ThirdOfTheNoise, {"ledger": "spent epsilon"}),
    Cheat(
        "0.3 of the noise, from a source put in the session's place",
        cheats.ThirdOfTheNoiseFromASource,
        {"replay": "times the noise accounted"},
    ),
    Cheat("0.3 of the noise, of its own", cheats.ThirdOfTheNoiseRaw, {}),
    Cheat("no noise", cheats.NoNoise, {"ledger": "spent epsilon"}),
    Cheat("a bias without noise", cheats.BareBias, {"replay": "state"}),
    Cheat("the private mean in the last bits", cheats.LowBits, {"replay": "private records"}),
    Cheat("one tensor of noise for all sums", cheats.OneTensorOfNoise, {"replay": "share"}),
    Cheat("the same, of its own", cheats.OneTensorOfNoiseRaw, {}),
    Cheat("a clip of the mean", cheats.ClippedMean, {"run-time": "depends|differs"}),
    Cheat("the same, of latents in hand", cheats.ClippedMeanRaw, {}),
    Cheat("private labels read from the store", cheats.LabelsFromTheStore, {"replay": "the store"}),
    Cheat("the same, by the harness's own store", cheats.LabelsFromAFrame, {"replay": "the store"}),
    Cheat(
        "latents with a jitter of 1%, stolen",
        cheats.Memoriser,
        {"replay": "read off"},
    ),
    Cheat("latents with a jitter of 1%, asked for", cheats.MemoriserRaw, {"replay": "read off"}),
    Cheat("latents as snapshots", cheats.LatentsAsSnapshots, {"replay": "snapshots"}),
    Cheat(
        "a clip at the largest private norm", cheats.LargestNorm, {"replay": "mechanism or clip"}
    ),
    Cheat("noise drawn again and subtracted", cheats.SubtractedNoise, {"replay": "noise is known"}),
    Cheat(
        "a ledger overwritten, through the handle",
        cheats.LedgerOfACopy,
        {"ledger": "spent epsilon"},
    ),
    Cheat(
        "a ledger overwritten, in the session",
        cheats.OverwrittenLedger,
        {"replay": "more often than the ledger says"},
    ),
    Cheat("25 sums a step", cheats.ManySums, {"run-time": "second release"}),
    Cheat(
        "25 sums a step, the engine told otherwise",
        cheats.ManySumsByForce,
        {"ledger": "Poisson sampling"},
    ),
    Cheat("trials that share a mean", cheats.SharedLanes, {"replay": "beside it"}),
    Cheat("a mean that stays with the class", cheats.RememberedMean, {"replay": "state"}),
    Cheat("δ changed, through the handle", cheats.OtherDelta, {"run-time": "set"}),
    Cheat("δ changed, in the session", cheats.OtherDeltaByForce, {"replay": "budget"}),
    Cheat("only N used", cheats.OnlyTheSize, {"run-time": "no private data"}),
    Cheat("cheats only where nobody replays", cheats.KnowsThatItIsReplayed, {}),
    Cheat("differs from fit to fit", cheats.NeverTwiceTheSame, {}),
]


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """A store as a run has it, below the directory that commands run in."""
    store = Store(tmp_path / "runs" / "artifacts")
    store.save("latents", "z", Artifact({}, {"private": PRIVATE, "public": PUBLIC}))
    labels = {"private.labels": torch.arange(len(PRIVATE)) % 10}
    store.save("data", "images", Artifact({}, labels))
    monkeypatch.chdir(tmp_path)
    return store


def trained(generator: type[Animal], store: Store, monkeypatch) -> tuple[str | None, str | None]:
    """Train as a run does; return what stopped it, and what the ledger comes to say."""
    registry = Registry()
    registry.classes["generator"]["animal"] = Registered(generator, "zoo", "1")
    monkeypatch.setattr(plugins, "registry", lambda: registry)
    lane = Lane("trial", {}, EPSILON, None, DELTA, CLIP, 7, noise_seed=8)
    component = Component(kind="generator", name="animal", plugin="animal", params={})
    task = GeneratorTask("z", component, (lane,))
    try:
        failures = task.run(store, Context(0))
    except Exception as error:  # as the worker does
        return str(error), None
    if failures:
        return failures["trial"], None
    meta = store.load("generator", "trial").meta
    return None, privacy_problem(meta["ledger"], meta["spent"], EPSILON)


@pytest.mark.parametrize("cheat", TABLE, ids=lambda cheat: cheat.generator.__name__)
def test_every_cheat_is_caught_where_the_table_says(cheat: Cheat, store, monkeypatch) -> None:
    stopped, ledger = trained(cheat.generator, store, monkeypatch)
    found = {"run-time": stopped, "ledger": ledger}
    if not (stopped or ledger):
        verdict = replayed(cheat.generator, store=store.root)
        found["replay"] = verdict.reason if verdict.verdict == "failed" else None
    found = {check: reason for check, reason in found.items() if reason}
    assert found.keys() == cheat.caught.keys(), found
    for check, words in cheat.caught.items():
        assert re.search(words, found[check] or ""), found[check]


def test_nothing_else_stays_uncaught() -> None:
    assert {cheat.generator for cheat in TABLE if not cheat.caught} == {
        cheats.ThirdOfTheNoiseRaw,
        cheats.OneTensorOfNoiseRaw,
        cheats.ClippedMeanRaw,
        cheats.KnowsThatItIsReplayed,
        cheats.NeverTwiceTheSame,
    }


@pytest.mark.parametrize(
    ("generator", "verdict", "why"),
    [
        (cheats.ThirdOfTheNoiseRaw, "not-replayed", "adds its own noise"),
        (cheats.OneTensorOfNoiseRaw, "not-replayed", "adds its own noise"),
        (cheats.ClippedMeanRaw, "not-replayed", "adds its own noise"),
        (cheats.NeverTwiceTheSame, "not-replayed", "not repeatable"),
        (cheats.KnowsThatItIsReplayed, "passed", "follows from"),
    ],
)
def test_of_most_that_is_uncaught_a_replay_says_that_it_knows_nothing(
    generator: type[Animal], verdict: str, why: str
) -> None:
    found = replayed(generator)
    assert found.verdict == verdict
    assert why in found.reason


def test_the_tests_of_what_executors_notice_are_there() -> None:
    text = EXECUTORS.read_text()
    assert all(f"def {name}(" in text for name in ENDINGS.values())


def table() -> str:
    """The table as the documentation shows it."""
    rows = [f"| {cheat.words} | {', '.join(cheat.caught) or 'nothing'} |" for cheat in TABLE]
    rows += [f"| {words} | executor |" for words in ENDINGS]
    return "\n".join(["| cheat | caught by |", "|---|---|", *rows])


def test_the_documentation_repeats_the_table() -> None:
    assert table() in DOCUMENT.read_text()

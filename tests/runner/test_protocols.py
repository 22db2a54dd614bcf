"""Inception's scores by default, where they can be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result as Invoked

from dpbench.api import Weights
from dpbench.metrics.evaluators.weights import WeightsError
from dpbench.planning.config import Config, load_config
from dpbench.planning.trials import Request, plan_trials
from dpbench.plugins import registry
from dpbench.runner import protocols


@pytest.fixture
def config() -> Config:
    return load_config(None, registry())


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "choose_device", lambda _asked: "cuda")


def planned(config: Config) -> set[str]:
    return {name for trial in plan_trials(config, Request()) for name in trial.protocols}


def test_with_gpu_and_weights_both_are_computed_canonical_first(
    config: Config, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Weights(Path("weights.pth"), "6726825d")
    monkeypatch.setattr(protocols, "released", lambda *_: found)
    chosen, missing = protocols.automatic(config, {}, "auto")
    assert missing is None
    assert chosen.file.default_protocols == ["canonical", "default"]
    assert planned(chosen) == {"canonical", "default"}


def test_without_a_gpu_a_line_says_how(config: Config) -> None:
    chosen, missing = protocols.automatic(config, {}, "cpu")
    assert planned(chosen) == {"default"}
    assert missing is not None and "--protocol canonical" in missing


def test_without_weights_a_line_says_how(
    config: Config, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Weights:
        raise WeightsError("the Inception weights cannot be fetched: pass --inception-weights PATH")

    monkeypatch.setattr(protocols, "released", refuse)
    chosen, missing = protocols.automatic(config, {}, "auto")
    assert planned(chosen) == {"default"}
    assert missing is not None and "--inception-weights PATH" in missing


def test_protocols_that_are_named_stay(dpbench: Callable[..., Invoked]) -> None:
    done = dpbench("run", "--no-controls", "--dry-run")
    assert done.exit_code == 0 and "Inception" not in done.output

"""Inception's scores by default, where they can be had."""

from __future__ import annotations

import hashlib
import io
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result as Invoked
from fakes import TINY
from torch import Tensor, nn

from dpbench.api import Weights
from dpbench.metrics.evaluators import inception_network, weights
from dpbench.metrics.evaluators.weights import WEIGHTS_NAME, WEIGHTS_URL, WeightsError
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
    chosen, missing = protocols.automatic(config, Request(), {}, "auto")
    assert missing is None
    assert chosen.file.default_protocols == ["canonical", "default"]
    assert planned(chosen) == {"canonical", "default"}


def test_without_a_gpu_a_line_says_how(config: Config) -> None:
    chosen, missing = protocols.automatic(config, Request(), {}, "cpu")
    assert planned(chosen) == {"default"}
    assert missing is not None and "--protocol canonical" in missing


def test_without_weights_a_line_says_how(
    config: Config, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Weights:
        raise WeightsError("the Inception weights cannot be fetched: pass --inception-weights PATH")

    monkeypatch.setattr(protocols, "released", refuse)
    chosen, missing = protocols.automatic(config, Request(), {}, "auto")
    assert planned(chosen) == {"default"}
    assert missing is not None and "--inception-weights PATH" in missing


@pytest.mark.parametrize("request_", [Request(("smoke",)), Request(protocols=("default",))])
def test_where_protocols_are_named_nothing_is_missing(config: Config, request_: Request) -> None:
    assert protocols.automatic(config, request_, {}, "cpu") == (config, None)


def test_an_error_stands_alone(dpbench: Callable[..., Invoked]) -> None:
    config = TINY.replace('["tiny"]', '"auto"').replace("protocols.tiny", "protocols.default")
    extra = '[protocols.canonical]\nevaluator = "inception"\nsamples = 64\n'
    done = dpbench("run", "--method", "x", "--device", "cpu", base=config, extra=extra)
    assert done.exit_code == 2 and "unknown method 'x'" in done.output
    assert "Inception" not in done.output
    assert "Inception" in dpbench("run", "--dry-run", "--device", "cpu").output


def test_protocols_that_are_named_stay(dpbench: Callable[..., Invoked]) -> None:
    done = dpbench("run", "--no-controls", "--dry-run")
    assert done.exit_code == 0 and "Inception" not in done.output


class StandIn(nn.Module):
    """As Inception seems from outside, in a file of 10 MB."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Linear(3 * 8 * 8, 2048)
        self.fc = nn.Linear(2048, inception_network.LOGITS)

    def forward(self, images: Tensor) -> Tensor:
        seen: Tensor = self.look(nn.functional.adaptive_avg_pool2d(images, 8).flatten(1))
        return seen


@pytest.mark.slow
def test_from_an_empty_cache_to_the_table(
    dpbench: Callable[..., Invoked], gpu: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = io.BytesIO()
    torch.save(StandIn().state_dict(), content)
    asked = []

    def serve(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(content.getvalue())

    monkeypatch.setattr(urllib.request, "urlopen", serve)
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(content.getvalue()).hexdigest())
    monkeypatch.setattr(inception_network, "fid_inception", StandIn)
    monkeypatch.setattr(inception_network, "trunk", lambda network: network)
    config = TINY.replace('["tiny"]', '"auto"').replace("protocols.tiny", "protocols.default")
    canonical = """
        [protocols.canonical]
        evaluator = "inception"
        samples = 64
        metrics = ["fid", "is"]
    """
    done = dpbench("run", "--no-controls", "--device", "cpu", base=config, extra=canonical)
    assert done.exit_code == 0, done.output
    assert asked == [WEIGHTS_URL]
    assert list((tmp_path / "cache").rglob(WEIGHTS_NAME))
    order = [done.output.index(f"protocol {name}: FID") for name in ("canonical", "default")]
    assert order == sorted(order)

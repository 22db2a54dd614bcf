"""What is made again under its old name may come out otherwise: nothing is made of both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
import torch
from fakes import TINY

from dpbench.results import Result

Carry = Callable[..., tuple[list[Result], fake_plugins.InProcess]]
PIXELS = TINY.replace("samples = 64", 'samples = 64\nevaluator = "pixels"')


@pytest.fixture
def run(carry_out: Carry) -> Callable[[], tuple[Result, list[str]]]:
    """Run the grid; return its row, and the stages of what was computed."""

    def once() -> tuple[Result, list[str]]:
        (result,), executor = carry_out(base=PIXELS)
        return result, [stage for stage in executor.stages if stage != "replay"]

    return once


@pytest.fixture
def delete(tmp_path: Path) -> Callable[..., None]:
    """Delete artifacts of a stage."""

    def those(stage: str, key: str = "*") -> None:
        for path in (tmp_path / "runs" / "artifacts" / stage).glob(key):
            shutil.rmtree(path)

    return those


def otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the evaluator learn other weights than before, from the same and with the same code."""
    fit = fake_plugins.PixelEvaluator.fit

    def fits(self: Any, *arguments: Any) -> None:
        fit(self, *arguments)
        self._take(self.means * 1.001)

    monkeypatch.setattr(fake_plugins.PixelEvaluator, "fit", fits)


@pytest.mark.parametrize("references", [True, False], ids=["references kept", "all but a score"])
def test_scores_by_two_evaluators_are_never_in_one_row(
    run: Any, delete: Any, monkeypatch: pytest.MonkeyPatch, references: bool
) -> None:
    first, _ = run()
    delete("evaluator")
    delete("score", first.artifacts["score.fid"])
    if not references:
        delete("references")
    otherwise(monkeypatch)
    second, _ = run()
    assert "fid" not in second.metrics
    assert "run the same command again" in (second.reason or second.unavailable["fid"])
    third, stages = run()
    assert third.status == "ok"
    assert "score" in stages and "generator" not in stages
    assert third.protocol["weights_sha256"] != first.protocol["weights_sha256"]
    assert run() == (third, [])


def test_a_generator_is_never_decoded_by_a_model_that_it_was_not_trained_on(
    run: Any, delete: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    for stage in ("public", "score", "features"):
        delete(stage)
    fit = fake_plugins.LinearModel.fit

    def fits(self: Any, *arguments: Any) -> None:
        fit(self, *arguments)
        self.axes.neg_()

    monkeypatch.setattr(fake_plugins.LinearModel, "fit", fits)
    second, stages = run()
    assert set(stages) == {"public", "score"}
    assert second.status == "failed"
    assert "was made of another public/" in (second.reason or "")
    third, stages = run()
    assert stages == ["latents", "generator", "score"]
    assert third.status == "ok"


def test_what_comes_out_as_before_is_used_as_before(run: Any, delete: Any) -> None:
    first, _ = run()
    for stage in ("public", "evaluator", "references", "score"):
        delete(stage)
    second, stages = run()
    assert "latents" not in stages and "generator" not in stages
    assert second.metrics == first.metrics


def test_threads_are_those_of_the_configuration_and_in_every_key(
    carry_out: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,), _ = carry_out(base=PIXELS)
    seen: list[int] = []
    fit = fake_plugins.LinearModel.fit

    def fits(self: Any, *arguments: Any) -> None:
        seen.append(torch.get_num_threads())
        fit(self, *arguments)

    monkeypatch.setattr(fake_plugins.LinearModel, "fit", fits)
    (two,), _ = carry_out("[limits]\nthreads = 2\n", base=PIXELS)
    torch.set_num_threads(1)  # in this process, where the tests' executor runs it
    assert seen == [2]
    assert one.key == two.key
    assert not set(one.artifacts.values()) & set(two.artifacts.values())

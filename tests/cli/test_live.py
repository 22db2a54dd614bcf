"""What a person sees of a run."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from leaderboard.artifacts import images
from leaderboard.fabricate import control, trial
from rich.console import Console

from dpbench.api import Context
from dpbench.cli.best import BestSoFar
from dpbench.cli.live import LiveView
from dpbench.cli.strip import strip
from dpbench.planning.plan import Job
from dpbench.results import save_result
from dpbench.runner.scheduler import Loss, Progress
from dpbench.stages import Task
from dpbench.store import Artifact, ArtifactId, Store


@dataclass(frozen=True)
class Unheard(Task):
    """A task of a stage that the view has not heard of."""

    key: str
    seed: int = 0
    stage: ClassVar[str] = "unheard-of"

    def reads(self) -> Sequence[ArtifactId]:
        return ()

    def writes(self) -> Sequence[ArtifactId]:
        return [ArtifactId(self.stage, self.key)]

    def run(self, store: Store, context: Context) -> dict[str, str]:
        return {}


def view(progress: Progress, ended: Job | None, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with LiveView(console) as live:
        live.update(progress, ended)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_stage_unknown_to_the_view_has_its_own_name() -> None:
    tasks = [Unheard("a"), Unheard("b")]
    expected = {artifact for task in tasks for artifact in task.writes()}
    progress = Progress({}, expected=expected, written={ArtifactId("unheard-of", "a")})
    assert "unheard-of" in view(progress, None, terminal=True)


def test_a_group_that_is_run_again_says_why() -> None:
    group, part = Job("g", "two trials", Unheard("g"), 1.0), Job("g/1", "one", Unheard("a"), 1.0)
    progress = Progress({"g/1": part}, split={"g": "it broke"})
    assert "0/1 two trials: failed: it broke; its trials run again" in view(progress, group, False)


def test_a_trial_that_failed_within_its_group_is_not_done() -> None:
    artifact = ArtifactId("unheard-of", "a")
    progress = Progress({}, lost={artifact: Loss(artifact, "one", "wrong shape")})
    job = Job("g", "its trial", Unheard("a"), 1.0)
    assert "its trial: 1 of 1 failed: wrong shape" in view(progress, job, False)


def test_the_best_so_far_is_of_what_succeeded(tmp_path: Path) -> None:
    for row in (trial(fid=90.0), trial("b-GAN", fid=40.0), trial("c-GAN", fid=7.0, status="failed"),
                trial("b-GAN", float("inf"), fid=20.0), control("real", 1.0)):  # fmt: skip
        save_result(tmp_path, row)
    best = BestSoFar(tmp_path)
    best.look()
    assert best.lines() == [
        "best so far, mnist, default: ε = ∞ b-GAN FID 20.0, ε = 10 b-GAN FID 40.0"
    ]


@pytest.mark.parametrize("content", ["[]", '{"metrics": null}', '{"status": "ok"}', "{"])
def test_a_row_that_is_none_does_not_end_the_view(tmp_path: Path, content: str) -> None:
    save_result(tmp_path, trial(fid=90.0))
    (tmp_path / "results" / "foreign.json").write_text(content)
    best = BestSoFar(tmp_path)
    best.look()
    assert best.latest is not None and best.latest.metrics["fid"] == 90.0


def test_a_strip_of_samples_is_seven_lines(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save("features", "f", Artifact({}, {"preview": images(12)}))
    text = strip(store, "f", 80).plain
    assert [line.count("▀") for line in text.splitlines()] == [5 * 14] * 7
    assert not strip(store, "missing", 80)

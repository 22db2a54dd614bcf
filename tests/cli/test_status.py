"""``dpbench status``: where a run stands, read from elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from leaderboard.fabricate import trial

from dpbench.cli.main import cli
from dpbench.planning.plan import Job
from dpbench.results import save_result
from dpbench.runner.scheduler import Progress
from dpbench.runner.status import STATUS, Reporter, read_standing
from dpbench.store import Artifact, ArtifactId, Store

from .test_live import Unheard


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["status", *map(str, arguments)])


def half_way() -> Progress:
    tasks = {name: Unheard(name) for name in "abcd"}
    titles = {"a": "task a", "b": "task b", "c": "task c", "d": "task c"}  # two are called alike
    jobs = {name: Job(name, titles[name], task, 1.0) for name, task in tasks.items()}
    made = {name: ArtifactId("unheard-of", name) for name in tasks}
    return Progress(
        jobs,
        done={"a"},
        failed={"b": "it broke"},
        expected=set(made.values()),
        written={made["a"]},
        running={"c": 0.5, "d": 0.25},
    )


def test_a_run_says_what_is_done_runs_failed_and_is_left(tmp_path: Path) -> None:
    Reporter(tmp_path, "dpbench run --grid mine")(half_way())
    save_result(tmp_path, trial())
    Store(tmp_path / "artifacts").save("latents", "k", Artifact({"a": 1}))
    text = call("--runs", tmp_path).output
    assert text.startswith("running for 0 s")
    assert "dpbench run --grid mine" in text and "left: " in text
    row = next(line for line in text.splitlines() if "unheard-of" in line)
    assert [word for word in row.split() if word.isdigit()] == ["1", "2", "0", "3"]
    assert "running: task c (50%)" in text and "running: task c (25%)" in text
    assert "failed: task b: it broke" in text
    assert "trials with a row: 1 ok" in text and "latents" in text and "(1)" in text
    assert json.loads(call("--runs", tmp_path, "--format", "json").output)["failures"]


def test_the_end_and_a_silent_end_are_told_apart(tmp_path: Path) -> None:
    report = Reporter(tmp_path, "dpbench run")
    done = half_way()
    done.written = done.expected
    report(done, ended=True)
    assert call("--runs", tmp_path).output.startswith("ended after 0 s")
    report(half_way(), ended=True)
    assert call("--runs", tmp_path).output.startswith("stopped after 0 s; the same command goes on")
    standing = read_standing(tmp_path)
    assert standing is not None
    quiet = standing.model_copy(update={"ended": False, "updated": time.time() - 120})
    (tmp_path / STATUS).write_text(quiet.model_dump_json())
    text = call("--runs", tmp_path).output
    assert text.startswith("stopped 2 min 00 s ago") and "the same command goes on" in text


def test_a_run_whose_process_is_gone_has_stopped_at_once(tmp_path: Path) -> None:
    Reporter(tmp_path, "dpbench run")(half_way())
    standing = read_standing(tmp_path)
    assert standing is not None and standing.silent is None
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    half_a_minute_ago = time.time() - 27

    def said(**changes: object) -> str:
        told = standing.model_copy(update={"updated": half_a_minute_ago, **changes})
        (tmp_path / STATUS).write_text(told.model_dump_json())
        return call("--runs", tmp_path).output

    assert said(pid=killed.pid).startswith("stopped 27 s ago; the same command goes on")
    assert said(pid=killed.pid, host="elsewhere").startswith("running for")
    assert said(pid=killed.pid, ended=True).startswith("stopped after")


@pytest.mark.skipif(sys.platform != "linux", reason="when a process began is read from /proc")
def test_a_number_that_another_process_got_is_not_the_run(tmp_path: Path) -> None:
    Reporter(tmp_path, "dpbench run")(half_way())
    standing = read_standing(tmp_path)
    assert standing is not None
    of_yesterday = standing.model_copy(update={"started": time.time() - 86_400})
    assert of_yesterday.silent is not None


def test_reports_are_a_second_apart_and_never_fail(tmp_path: Path) -> None:
    report = Reporter(tmp_path, "dpbench run")
    report(half_way())
    first = (tmp_path / STATUS).read_text()
    report(half_way())
    assert (tmp_path / STATUS).read_text() == first
    (tmp_path / "file").write_text("")
    Reporter(tmp_path / "file", "dpbench run")(half_way())


@pytest.mark.parametrize("content", [None, "{", '{"pid": 3}'])
def test_a_directory_without_a_run_is_no_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / STATUS).write_text(content)
    result = call("--runs", tmp_path)
    assert result.exit_code == 0 and "no run has begun here" in result.output
    missing = call("--runs", tmp_path / "nowhere")
    assert missing.exit_code == 2 and "name the directory" in missing.output

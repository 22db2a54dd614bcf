"""Ctrl-C: once ends in order and says how to go on, twice at once; other signals at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from click.testing import Result
from fakes import TINY

from dpbench.cli.interrupt import GO_ON, Interrupts

ROOT = Path(__file__).parents[2]
WAITS = """
[generators.waits]
plugin = "mean"
fault = "waits"
flag = "never"
"""
COMMAND = [
    sys.executable, "-c", "from dpbench.cli.main import main; main()",
    "run", "--executor", "local", "--workers", "1", "--no-controls", "--grid", "linear-look-waits",
]  # fmt: skip


@pytest.fixture
def waiting(dpbench: Callable[..., Result], tmp_path: Path) -> subprocess.Popen[str]:
    """A run whose only trial waits for ever, once all before it is stored."""
    (tmp_path / "benchmarks.toml").write_text(TINY + WAITS)
    path = f"{ROOT}:{os.environ['PYTHONPATH']}"
    run = subprocess.Popen(
        COMMAND,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    deadline = time.monotonic() + 120
    while not list(Path("runs/logs").glob("generator-*")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return run


@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_ends_a_run_and_says_how_to_go_on(
    waiting: subprocess.Popen[str], times: int
) -> None:
    workers = psutil.Process(waiting.pid).children(recursive=True)
    for _ in range(times):
        os.kill(waiting.pid, signal.SIGINT)
    _, errors = waiting.communicate(timeout=30)
    assert waiting.returncode == 130
    lines = [line for line in errors.splitlines() if "interrupted" in line]
    assert len(lines) == 1
    assert lines[0].endswith("what had ended is kept: the same command goes on from there")
    assert "Aborted" not in errors
    assert "Traceback" not in errors
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    assert list(Path("runs/artifacts/latents").glob("*/meta.json"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_run_as_ever_and_say_how_to_go_on(
    waiting: subprocess.Popen[str], number: signal.Signals
) -> None:
    workers = psutil.Process(waiting.pid).children(recursive=True)
    os.kill(waiting.pid, number)
    _, errors = waiting.communicate(timeout=30)
    assert waiting.returncode == -number  # a shell's 143 and 129
    assert errors.splitlines()[-1] == GO_ON
    assert "\x1b" not in errors
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def test_what_was_to_be_ignored_still_is() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)

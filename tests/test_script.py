"""``import dpbench``: runs and results in scripts and notebooks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import TINY

import dpbench
import dpbench.api
from dpbench.errors import DpbenchError
from dpbench.plugins import Registry


@pytest.fixture
def place(
    tmp_path: Path,
    fakes: Registry,
    monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[], None],
) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("benchmarks.toml").write_text(TINY)
    return tmp_path


def test_a_run_returns_its_board(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = dpbench.run(epsilon=[1, 10], seed=range(2), runs="mine")
    assert "linear on tiny: done" in capsys.readouterr().out
    trials = board.frame[board.frame.public.notna() & board.frame.epsilon.notna()]
    assert sorted(trials.epsilon) == [1, 1, 10, 10]
    assert (trials["metrics.fid"] > 0).all()
    (entry,) = json.loads(Path("mine/history.json").read_text())
    assert entry["command"].startswith("dpbench.run(grid='all', epsilon=[1, 10], seed=range(0, 2)")

    trial = board.trial("linear-look-MEAN", epsilon=10, seed=1)
    assert trial == board.trial("linear-look-MEAN@10", seed=1)
    with pytest.raises(DpbenchError, match="'ten' is no epsilon"):
        board.trial("linear-look-MEAN@ten")
    assert trial.metrics == trial.result.metrics
    assert trial.samples.shape == (64, 1, 16, 16) and str(trial.samples.dtype) == "torch.uint8"
    assert board.trial("control:real").samples.shape[1:] == (1, 16, 16)
    with pytest.raises(DpbenchError, match=r"2 trials match: name seed of \[0, 1\]"):
        board.trial("linear-look-MEAN", epsilon=10)
    with pytest.raises(DpbenchError, match=r"no trial has .*'epsilon': 3.* epsilon of \[1.0, 10.0"):
        board.trial("linear-look-MEAN", epsilon=3)
    with pytest.raises(DpbenchError, match="did you mean 'linear-look-MEAN'"):
        board.trial("linear-look-MEEN")

    assert dpbench.load("mine").results == board.results
    assert dpbench.run(epsilon=1, seed=0, runs="mine", progress=False).results
    assert capsys.readouterr().out == ""


def test_plots_are_shown_by_notebooks_and_saved(place: Path) -> None:
    board = dpbench.run(epsilon=[1, 10], clip=[1, 2], runs="mine", progress=False)
    plot = board.plot("brightness")
    assert plot._repr_svg_().startswith("<svg xmlns=") and "linear-look-MEAN" in plot.svg
    board.plot("clips").save("clips.svg")
    assert Path("clips.svg").read_text().startswith("<svg")
    with pytest.raises(DpbenchError, match="unknown figure 'clip'; did you mean 'clips'"):
        board.plot("clip")
    with pytest.raises(DpbenchError, match="nothing to draw as 'fidelity'"):
        board.plot("fidelity")
    with pytest.raises(DpbenchError, match="of one table"):
        dpbench.Leaderboard(()).plot()


def test_a_file_can_be_a_plugin(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPBENCH_PLUGIN_FILES", "")
    Path("mine.py").write_text(
        "from dpbench import hookimpl\nfrom fakes import MeanGenerator\n"
        "class Mine(MeanGenerator):\n    name, label = 'mine', 'Mine'\n"
        "@hookimpl\ndef register_generators(register):\n    register(Mine)\n"
    )
    board = dpbench.run("linear-look-Mine", plugins=["mine.py"], controls=False, progress=False)
    assert [result.status for result in board.results] == ["ok"]


def test_a_script_needs_no_guard(place: Path) -> None:
    """Worker processes do not run the script again."""
    Path("script.py").write_text(
        "import dpbench\nprint('once')\n"
        "board = dpbench.run(executor='local', workers=1, controls=False)\n"
        "print(board.frame.status.tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("once") == 1 and "['ok']" in done.stdout


def test_importing_dpbench_is_quick() -> None:
    code = "import sys, dpbench; print([m for m in ('torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_stable_names_are_in_the_reference() -> None:
    page = (Path(__file__).parent.parent / "docs" / "reference.md").read_text()
    for name in dpbench.__all__:
        if not name.startswith("__"):
            assert f"`dpbench.{name}`" in page, name
    shown = set(re.findall(r"^::: ([\w.]+)", page, re.MULTILINE))
    for name in dpbench.api.__all__:
        module = getattr(getattr(dpbench.api, name), "__module__", "dpbench.api.public_model")
        assert module in shown or module == "typing", f"{name} of {module}"


def test_stable_names_are_there() -> None:
    for name in dpbench.__all__:
        assert getattr(dpbench, name) is not None
        assert name in dir(dpbench)
    assert not hasattr(dpbench, "walk")

"""From the command line to the leaderboard, with the real plugins and real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import Result
from fakes import write_npz

from dpbench import plugins
from dpbench.planning.config import load_config
from dpbench.planning.trials import Request, plan_trials

ROOT = Path(__file__).parent.parent
SIX = {"ae-enc-GAN", "ae-enc-VAE", "ae-grad-GAN", "ae-grad-VAE", "wgan-GAN", "wgan-VAE"}
COMMAND = [sys.executable, "-c", "from dpbench.cli.main import main; main()"]

#: All built-in methods on a user's own small images.
OWN = """
dataset = "own"
delta = 1e-3
default_protocols = ["quick"]
[latents]
public_images = 100
[datasets.own]
plugin = "npz"
path = "own.npz"
[public.ae]
latent = 4
width = 4
hidden = 16
epochs = 1
[evaluators.domain]
epochs = 4
[public.wgan]
latent = 4
width = 4
hidden = 16
steps = 5
[protocols.quick]
samples = 80
[grids.all]
methods = ["ae-*", "wgan-*"]
epsilon = [10, inf]
clip = [1.0]
"""


def trials(runs: Path = Path("runs")) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in (runs / "results").glob("*.json")]
    return [one for one in found if not one["method"].startswith("control:")]


def test_all_six_methods_and_the_page_they_fill(
    dpbench: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(plugins.ONLY_VARIABLE, "")
    write_npz(tmp_path / "own.npz")
    result = dpbench("run", base=OWN)
    assert result.exit_code == 0, result.output
    done = trials()
    assert {(one["method"], float(one["epsilon"])) for one in done} == {
        (method, epsilon) for method in SIX for epsilon in (10.0, float("inf"))
    }
    for one in done:
        assert one["status"] in ("ok", "collapsed"), one["reason"]
        assert {"fid", "is", "private_share", "min_class_share"} <= set(one["metrics"])
        if one["epsilon"] == 10:
            assert 9 < one["epsilon_spent"] <= 10
    controls = [path for path in Path("runs/results").iterdir() if "control:" in path.read_text()]
    assert len(controls) == 8  # real and public images; two more through each of three pairs
    written = {path.name for path in Path("runs/leaderboard").iterdir()}
    assert {"README.md", "index.html", "results.csv", "samples.png"} <= written
    assert "Everything is cached" in dpbench("run", "--dry-run").output


def install_mixture(distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the package under plugins/ look installed, as its own pyproject says."""
    folder = ROOT / "plugins" / "dpbench-mixture"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    monkeypatch.syspath_prepend(folder)
    distribution(project["name"], project["version"], **project["entry-points"]["dpbench"])


def test_the_example_plugin_widens_the_grid_by_three_rows_a_generator_and_runs(
    dpbench: Callable[..., Result],
    distribution: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    forget: Callable[[], None],
) -> None:
    write_npz(tmp_path / "own.npz")
    Path("benchmarks.toml").write_text(OWN)
    monkeypatch.setenv(plugins.ONLY_VARIABLE, "")
    forget()
    before = {trial.method.name for trial in plan_trials(load(), Request())}
    install_mixture(distribution, monkeypatch)
    monkeypatch.setenv(plugins.ONLY_VARIABLE, "dpbench-mixture")
    forget()
    after = {trial.method.name for trial in plan_trials(load(), Request())}
    assert after - before == {
        f"{space}-{label}"
        for space in ("ae-enc", "ae-grad", "wgan")
        for label in ("Gaussian", "Mixture", "Mixture-SGD", "Taught", "TaughtMixture")
    }

    listed = json.loads(dpbench("plugins", "--format", "json").stdout)
    kinds = [p["kind"] for p in listed["plugins"] if p["distribution"] == "dpbench-mixture"]
    assert kinds == ["generator"] * 5
    result = dpbench("run", "--grid", "*-Gaussian", "--grid", "*-Mixture", "--no-controls")
    assert result.exit_code == 0, result.output
    released = {name for name in after - before if name.endswith(("-Gaussian", "-Mixture"))}
    assert {one["method"] for one in trials()} == released
    for one in trials():
        assert one["privacy"]["ledger"]["trust"] == "ledger"
        assert one["epsilon"] == "inf" or one["epsilon_spent"] <= 10


def load() -> Any:
    return load_config(None, plugins.registry())


def finished(runs: Path, stage: str) -> set[Path]:
    return set((runs / "artifacts" / stage).glob("*/meta.json"))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, "the run ended"
        assert time.monotonic() < deadline, "the run does not get that far"
        time.sleep(0.05)


def test_a_killed_run_goes_on_where_it_stopped(
    dpbench: Callable[..., Result], tmp_path: Path
) -> None:
    """SIGKILL with one trial trained and one in training; nothing finished is done again."""
    held = f'[generators.slow]\nplugin = "mean"\nfault = "waits"\nflag = "{tmp_path / "flag"}"\n'
    arguments = ["run", "--grid", "linear-look-MEAN", "--grid", "linear-look-slow", "--no-controls"]
    assert dpbench(*arguments, "--dry-run", extra=held).exit_code == 0  # writes benchmarks.toml
    runs = tmp_path / "runs"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [*COMMAND, *arguments, "--executor", "local", "--workers", "2"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ['PYTHONPATH']}"},  # this code
        )
    wait_for(lambda: len(finished(runs, "score")) == 2, process)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    _, left = psutil.wait_procs(workers, timeout=30)
    for orphan in left:
        orphan.kill()
    assert left == [], "workers outlive a killed run"

    kept = [p for p in (runs / "artifacts").glob("*/*/*") if "tmp" not in p.parts]
    before = {path: path.stat() for path in kept}
    assert len(finished(runs, "generator")) == 1
    (tmp_path / "flag").touch()
    result = dpbench(*arguments)
    assert result.exit_code == 0, result.output
    assert "Everything is cached" not in result.output
    assert "linear-look-slow, 1 trial: done" in result.output
    assert "linear-look-MEAN, 1 trial: done" not in result.output, result.output
    for path, stat in before.items():
        now = path.stat()
        assert (now.st_ino, now.st_mtime_ns) == (stat.st_ino, stat.st_mtime_ns), path
    assert {one["status"] for one in trials(runs)} == {"ok"}
    assert len(trials(runs)) == 2
    litter = [p for p in runs.rglob("*") if p.parent.parent.name == "tmp" or ".json." in p.name]
    assert litter == []


@pytest.mark.slow
def test_the_example_plugin_installs_with_pip(tmp_path: Path) -> None:
    """Needs the package index, for the build backend."""
    site = tmp_path / "site"
    folder = ROOT / "plugins" / "dpbench-mixture"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(folder)], check=True, timeout=300)
    environment = {**os.environ, "PYTHONPATH": str(site), "DPBENCH_PLUGINS": "dpbench-mixture"}
    listed = subprocess.run(
        [*COMMAND, "plugins", "--format", "json"], env=environment, capture_output=True, check=True,
        text=True, timeout=120,
    )  # fmt: skip
    rows = json.loads(listed.stdout)["plugins"]
    assert any(row["distribution"] == "dpbench-mixture" for row in rows)


@pytest.mark.slow
def test_the_smoke_grid_on_mnist(tmp_path: Path) -> None:
    """All six methods on the real data, as a new user runs them."""
    command = [*COMMAND, "run", "--grid", "smoke", "--runs", str(tmp_path / "runs")]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stdout + first.stderr
    assert {one["method"] for one in trials(tmp_path / "runs")} == SIX
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Everything is cached: nothing to compute." in second.stdout

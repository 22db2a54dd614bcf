"""An example package is submitted and verified as a stranger's would be, with pip and git."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from dpbench.cli.main import cli
from dpbench.errors import DpbenchError
from dpbench.leaderboard import load, render
from dpbench.submissions.environment import layered
from dpbench.submissions.file import read_submission

PACKAGE = Path(__file__).parents[2] / "plugins" / "dpbench-mixture"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def git(*arguments: str) -> str:
    command = ["git", "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_an_example_package_is_verified(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(PACKAGE, source)
    git("init", "--quiet", str(source))
    git("-C", str(source), "add", ".")
    git("-C", str(source), "commit", "--quiet", "-m", "one")
    place = layered(source, tmp_path / "environment", "dpbench-mixture")
    runs = tmp_path / "runs"
    grid = ("--grid=smoke", "--method=ae-enc-Mixture", "--no-controls", "--quiet")
    done = place.dpbench("run", *grid, f"--runs={runs}", "--epsilon=10", "--epsilon=1")
    assert done.returncode == 0, done.stderr
    (tmp_path / "rows.csv").write_text(render(load(runs), "csv"))
    file = tmp_path / "mixture.toml"
    file.write_text(
        f"""
        distribution = "dpbench-mixture"
        repository = "source"
        commit = "{git("-C", str(source), "rev-parse", "HEAD")}"
        grid = ["smoke"]
        results = "rows.csv"
        """
    )
    verified = CliRunner().invoke(cli, ["verify", str(file), "--on-top"])
    assert verified.exit_code == 0, verified.output
    verdict = read_submission(file).verdict
    assert verdict is not None
    assert (verdict.status, len(verdict.cells), verdict.trials) == ("verified", 1, 2)


def test_a_package_that_does_not_install_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "broken"\nversion = "1"\ndependencies = ["dpbench==0.0.0.1"]\n'
    )
    with pytest.raises(DpbenchError, match="broken does not install") as caught:
        layered(tmp_path, tmp_path / "environment", "broken")
    assert "\n" not in str(caught.value)

"""``dpbench new``: every kind of package is found, passes its own tests and its kit."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dpbench import plugins
from dpbench.cli.main import cli
from dpbench.cli.new import NAMES
from dpbench.new import KINDS, make_package

Distribution = Callable[..., Path]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["new", *arguments])


def test_the_option_names_every_kind() -> None:
    assert tuple(KINDS) == NAMES


def test_a_public_model_is_also_known_as_the_registry_calls_it(tmp_path: Path) -> None:
    for name, kind in (("one", "public"), ("two", "public-model")):
        assert call(name, "--kind", kind, "--to", str(tmp_path)).exit_code == 0
        assert (
            "PublicModel" in (tmp_path / f"dpbench-{name}/dpbench_{name}/__init__.py").read_text()
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_of_every_kind_is_registered(
    kind: str, distribution: Distribution, tmp_path: Path
) -> None:
    result = call("my-own", "--kind", kind, "--to", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert "dpbench check my-own" in result.output
    root = tmp_path / "dpbench-my-own"
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"dpbench": {"my-own": "dpbench_my_own"}}
    source = root / "dpbench_my_own" / "__init__.py"
    site = distribution("dpbench-my-own", code=source.read_text(), **{"my-own": "dpbench_my_own"})
    assert site.exists() and not plugins.registry().broken
    cls = plugins.registry().get(KINDS[kind].kind, "my-own").cls
    assert (cls.__name__, cls.Params.__name__) == ("MyOwn", "MyOwnParams")
    assert "{{" not in "".join(p.read_text() for p in root.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", ["My", "1st", "a--b", "a b", "", "a/b", "x_y", "dpbench-"])
def test_a_name_that_no_package_can_have_is_refused(name: str, tmp_path: Path) -> None:
    result = call(name, "--to", str(tmp_path))
    assert result.exit_code == 2 and "is no name for a plugin" in result.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    first = make_package("dpbench-mine", "metric", tmp_path)
    (first / "README.md").write_text("edited")
    result = call("mine", "--to", str(tmp_path))
    assert result.exit_code == 2 and "is there already" in result.stderr
    assert (first / "README.md").read_text() == "edited"


@pytest.mark.parametrize(
    ("name", "kind", "what"),
    [
        ("vae", "generator", "the private generator name 'vae'"),
        ("dpbench-fid", "metric", "the metric name 'fid'"),
    ],
)
def test_a_name_that_would_be_refused_is_not_written(
    name: str, kind: str, what: str, tmp_path: Path
) -> None:
    result = call(name, "--kind", kind, "--to", str(tmp_path))
    assert result.exit_code == 2
    remedy = f"choose another, as my-{name.removeprefix('dpbench-')}"
    assert result.stderr == f"Error: {what} is already taken by dpbench: {remedy}\n"
    assert not list(tmp_path.iterdir())


def test_an_installed_package_may_be_written_anew(
    distribution: Distribution, tmp_path: Path
) -> None:
    (source,) = make_package("own", "metric", tmp_path).glob("*/__init__.py")
    distribution("dpbench-own", code=source.read_text(), own="dpbench_own")
    assert plugins.registry().get("metric", "own")
    result = call("own", "--kind", "metric", "--to", str(tmp_path / "new"))
    assert result.exit_code == 0, result.output


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_a_package_of_every_kind_passes_as_it_is_written(
    kind: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Install it, run its tests, check it, and look at it with the tools its makers use."""
    root = make_package("my-own", kind, tmp_path)
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, root],
        check=True,
    )
    known = f"--cache-dir={tmp_path_factory.getbasetemp() / 'mypy'}"  # torch is read once for all
    environment = os.environ | {
        "PYTHONPATH": f"{site}:{Path(plugins.__file__).parents[1]}",
        plugins.ONLY_VARIABLE: "dpbench-my-own",
    }
    for command in (
        ["-m", "pytest", "-q", "-p", "no:cacheprovider"],
        ["-c", "from dpbench.cli.main import main; main()", "check", "my-own"],
        ["-m", "mypy", known, "--strict", "--ignore-missing-imports", "dpbench_my_own"],
        ["-m", "ruff", "check", "."],
        ["-m", "ruff", "format", "--check", "."],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

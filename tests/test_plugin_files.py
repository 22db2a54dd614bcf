"""Plugins that are one file, named by ``--plugin`` or the environment."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from dpbench import plugins
from dpbench.planning.code_version import code_version
from dpbench.plugin_files import FILES_VARIABLE, BadPluginFile, use_files
from dpbench.results import load_results

Run = Callable[..., Result]
CODE = """
from dpbench import hookimpl
from fakes import MeanGenerator

class Mine(MeanGenerator):
    name, label = "mine", "MINE"

@hookimpl
def register_generators(register):
    register(Mine)
"""


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILES_VARIABLE, "")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "my plugin.py"
    path.write_text(CODE)
    return path


def test_a_file_joins_a_run_and_its_hash_is_in_the_key(dpbench: Run, mine: Path) -> None:
    arguments = ("run", "--no-controls", "--method", "linear-look-MINE", "--grid", "linear-look-*")
    assert dpbench(*arguments).exit_code == 2
    result = dpbench(*arguments, "--plugin", mine, "--dry-run")
    assert result.exit_code == 0, result.output
    assert dpbench(*arguments, "--plugin", mine).exit_code == 0
    (row,) = load_results(Path("runs"))
    assert row.method == "linear-look-MINE"
    assert "nothing to compute" in dpbench(*arguments, "--plugin", mine).output
    mine.write_text(CODE + "\nEDITED = True\n")
    assert dpbench(*arguments, "--plugin", mine).exit_code == 0
    (again,) = load_results(Path("runs"))
    assert again.artifacts["generator"] != row.artifacts["generator"]
    assert again.artifacts["latents"] == row.artifacts["latents"]


def test_where_a_file_lies_does_not_matter(
    mine: Path,
    fakes: plugins.Registry,
    forget: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(path: Path) -> str:
        monkeypatch.setenv(FILES_VARIABLE, "")
        forget()
        use_files([path])
        return code_version(plugins.registry().get("generator", "mine"))

    first = version(mine)
    (mine.parent / "else").mkdir()
    elsewhere = shutil.move(mine, mine.parent / "else")
    assert version(Path(elsewhere)) == first


def test_every_verb_takes_it(dpbench: Run, mine: Path) -> None:
    listed = json.loads(dpbench("plugins", "--format", "json", "--plugin", mine).stdout)
    (row,) = [row for row in listed["plugins"] if row["name"] == "mine"]
    assert (row["distribution"], len(row["distribution_version"])) == ("my plugin.py", 12)
    package = mine.parent / "package" / "__init__.py"
    package.parent.mkdir()
    package.write_text(CODE.replace("mine", "other").replace("MINE", "Other"))
    listed = json.loads(dpbench("plugins", "--format", "json", "--plugin", package).stdout)
    assert "package/__init__.py" in {row["distribution"] for row in listed["plugins"]}
    for verb in ("run", "leaderboard", "score", "audit", "statement", "data", "config"):
        assert "--plugin FILE.py" in dpbench(verb, "--help").output
    assert "--plugin FILE.py" in dpbench("config", "show", "--help").output
    assert dpbench("config", "show", "generators.mine", "--plugin", mine).exit_code == 0


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("none.py", None, "none.py cannot be read (No such file or directory)"),
        ("mine.txt", CODE, "is not Python: name a file that ends in .py"),
        ("mine.py", "1 +", "mine.py cannot be imported: SyntaxError"),
        ("mine.py", "raise SystemExit(3)", "mine.py cannot be imported: SystemExit: 3"),
        ("mine.py", "x = 1", "mine.py: it registers nothing"),
        ("mine.py", CODE.replace('"mine"', '"vae"'), "name 'vae' is already taken"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    dpbench: Run, tmp_path: Path, name: str, code: str | None, words: str
) -> None:
    if code is not None:
        (tmp_path / name).write_text(code)
    result = dpbench("plugins", "--plugin", name)
    assert result.exit_code == 2
    assert words in result.stderr and len(result.stderr.splitlines()) == 1


def test_the_environment_names_files_and_leaves_distributions_out(
    mine: Path,
    distribution: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[], None],
) -> None:
    monkeypatch.setenv(FILES_VARIABLE, str(mine))
    distribution("dpbench-fakes", fakes="fakes")
    distribution("dpbench-other", code=CODE.replace("mine", "other").replace("MINE", "Other"))
    assert {"mean", "mine", "other"} <= set(plugins.registry().classes["generator"])
    monkeypatch.setenv(plugins.DISABLE_VARIABLE, "dpbench-other, dpbench-more")
    forget()
    assert {"mean", "mine"} <= set(plugins.registry().classes["generator"])
    assert "other" not in plugins.registry().classes["generator"]
    mine.unlink()
    forget()
    with pytest.raises(BadPluginFile):
        plugins.registry()

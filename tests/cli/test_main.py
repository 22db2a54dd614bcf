"""The command line as a whole: help, version, unknown verbs, expected errors."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dpbench import __version__
from dpbench.cli.main import VERBS, cli

HELP = """
import sys
from click.testing import CliRunner
from dpbench.cli.main import cli
for verb in ([], *([name] for name in sys.argv[1:])):
    result = CliRunner().invoke(cli, [*verb, "--help"])
    assert result.exit_code == 0, result.output
heavy = sorted({"torch", "numpy", "pandas", "matplotlib", "opacus", "pydantic"} & set(sys.modules))
print(*heavy)
"""


def test_help_imports_nothing_heavy() -> None:
    command = [sys.executable, "-c", HELP, *VERBS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    result = CliRunner().invoke(cli, [verb, "-h"])
    assert result.exit_code == 0
    assert "Usage:" in result.output
    assert verb in CliRunner().invoke(cli, ["--help"]).output


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EAGAIN, "no more processes or threads: end others, raise `ulimit -u`"),
        (errno.ENOMEM, "no more memory: "),
        (errno.EMFILE, "too many open files: raise `ulimit -n`"),
        (errno.ENOSPC, "free space"),
    ],
)
def test_what_the_system_refuses_is_told_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("dpbench.plugins.registry", refuse)
    result = CliRunner().invoke(cli, ["plugins"])
    assert result.exit_code == 2 and words in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained_and_says_where_it_may_be_repeated(verb: str) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    for param in command.params:
        if isinstance(param, click.Option) and param.name != "style":  # --format: its choices do
            assert param.help, param.opts
            # what only an audit refuses twice: its own --seed
            refused = verb == "audit" and param.name == "seeds"
            assert ("repeatable" in param.help) == (param.multiple and not refused), param.opts


def test_version() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.output.strip() == f"dpbench, version {__version__}"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("rnu", "unknown verb 'rnu'; did you mean 'run'? See `dpbench --help`"),
        ("leaderbord", "unknown verb 'leaderbord'; did you mean 'leaderboard'?"),
        ("xyzzy", "unknown verb 'xyzzy'. See `dpbench --help`"),
        ("config chek", "unknown verb 'chek'; did you mean 'check'? See `dpbench config --help`"),
        ("--bad", "No such option"),
        ("run --girds all", "No such option"),
        ("run --clip x", "Invalid value for '--clip': 'x' is not a valid float. See `dpbench run"),
        ("release x", "Missing option '--to'. See `dpbench release --help`"),
        ("new x --kind y", "Invalid value for '--kind'"),
        ("audit --seed 1 --seed 2", "an audit has one --seed, and holds for trials with any. See"),
    ],
)
def test_wrong_usage_is_one_line_and_2(typed: str, line: str) -> None:
    result = CliRunner().invoke(cli, typed.split())
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {line}")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("group", [[], ["config"]])
def test_a_group_alone_shows_its_help(group: list[str]) -> None:
    assert "Commands:" in CliRunner().invoke(cli, group).output

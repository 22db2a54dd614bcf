"""A third party's package at one commit, in an environment of its own.

The environment keeps packages apart, not the machine: what is installed runs with the rights
of whoever runs it. Of the environment's variables it gets those that are listed here, so that
no token comes along by accident.
"""

from __future__ import annotations

import importlib.metadata
import os
import site
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import dpbench
from dpbench.errors import DpbenchError, printable
from dpbench.plugins import ONLY_VARIABLE
from dpbench.submissions.file import Submission

__all__ = ["Environment", "checkout", "fresh", "layered"]

#: Variables that come along, by their beginning.
PASSED = (
    "PATH", "HOME", "LANG", "LC_", "TMPDIR", "TZ", "XDG_CACHE", "SSL_CERT", "PIP_", "CUDA_",
    "OMP_NUM_THREADS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy",
)  # fmt: skip
#: git reads no other kind of address, asks for no password, and runs no helper.
GIT = {"GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "file:https:http:ssh:git"}
#: What installs packages: no score depends on its version, and none here need fit torch's.
INSTALLERS = {"pip", "setuptools", "wheel"}
ENTRY = "from dpbench.cli.main import main; main()"


@dataclass(frozen=True)
class Environment:
    """An interpreter that has dpbench and a third party's package.

    Attributes:
        python: the interpreter.
        folder: where its commands run: a directory without a configuration of its own.
        only: the one distribution whose plugins are loaded.
    """

    python: Path
    folder: Path
    only: str

    def dpbench(self, *arguments: str) -> CompletedProcess[str]:
        """Run a verb to its end, and return what it printed."""
        variables = {**_variables(), ONLY_VARIABLE: self.only}
        # -P: what lies in the directory is not imported
        return _run([str(self.python), "-P", "-c", ENTRY, *arguments], self.folder, variables)


def checkout(submission: Submission, folder: Path) -> Path:
    """Clone the repository at the commit into ``folder``; return where the package is.

    Raises:
        DpbenchError: it cannot be reached, has no such commit, or has no package there.
    """
    source, commit = submission.repository, submission.commit
    cloned = _git("clone", "--quiet", "--no-checkout", "--", source, str(folder))
    if cloned.returncode:
        raise DpbenchError(
            f"cannot clone {source} ({_last(cloned)}): mend `repository` in {submission.path}"
        )
    here = ("-C", str(folder))
    if _git(*here, "cat-file", "-e", f"{commit}^{{commit}}").returncode:
        _git(*here, "fetch", "--quiet", "origin", commit)  # one that no branch leads to
    if _git(*here, "checkout", "--quiet", "--detach", commit).returncode:
        raise DpbenchError(
            f"{source} has no commit {commit[:12]}: push it, or mend `commit` in {submission.path}"
        )
    package = (folder / submission.subdirectory).resolve()
    if not (package.is_relative_to(folder.resolve()) and (package / "pyproject.toml").is_file()):
        raise DpbenchError(
            f"{source} has no pyproject.toml in {submission.subdirectory!r} at {commit[:12]}: "
            f"mend `subdirectory` in {submission.path}"
        )
    return package


def fresh(package: Path, folder: Path, distribution: str) -> Environment:
    """Install this dpbench and ``package`` into an empty environment, in this one's versions.

    Raises:
        DpbenchError: something does not install.
    """
    python = _venv(folder)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(_versions()), encoding="utf-8")
    _pip(python, "-c", str(constraints), _own_source(), what="dpbench")
    _pip(python, "-c", str(constraints), str(package), what=distribution)
    return Environment(python, folder, distribution)


def layered(package: Path, folder: Path, distribution: str) -> Environment:
    """Install ``package`` into an environment that sees the packages of this one.

    Raises:
        DpbenchError: it does not install.
    """
    python = _venv(folder)
    own = Path(dpbench.__file__).parents[1]
    (packages,) = (folder / "lib").glob("python*/site-packages")
    lines = dict.fromkeys([str(own), *site.getsitepackages()])
    (packages / "beneath.pth").write_text("\n".join(lines), encoding="utf-8")
    _pip(python, str(package), what=distribution)
    return Environment(python, folder, distribution)


def _venv(folder: Path) -> Path:
    made = _run([sys.executable, "-m", "venv", str(folder)], Path.cwd(), _variables())
    if made.returncode:
        raise DpbenchError(f"python -m venv failed ({_last(made)}): install Python's venv")
    return folder / "bin" / "python"


def _pip(python: Path, *arguments: str, what: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", *arguments]
    installed = _run(command, python.parents[1], _variables())
    if installed.returncode:
        raise DpbenchError(
            f"{what} does not install ({_error(installed)}): try `pip install` in an empty "
            "environment"
        )


def _own_source() -> str:
    """Return what pip installs this dpbench from: its checkout, else an index."""
    root = Path(dpbench.__file__).parents[1]
    return str(root) if (root / "pyproject.toml").is_file() else f"dpbench=={dpbench.__version__}"


def _versions() -> Iterator[str]:
    """Yield what is installed here; builds of one version, such as +cpu, are alike."""
    for found in importlib.metadata.distributions():
        if not found.name or found.name.lower() in INSTALLERS:
            continue
        if found.read_text("direct_url.json") is None:
            yield f"{found.name}=={found.version.partition('+')[0]}"


def _variables() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k.startswith(PASSED)}


def _git(*arguments: str) -> CompletedProcess[str]:
    return _run(["git", *arguments], Path.cwd(), {**os.environ, **GIT})


def _run(command: Sequence[str], folder: Path, variables: dict[str, str]) -> CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, env=variables, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise DpbenchError(f"there is no {command[0]} on this machine: install it") from error


def _last(done: CompletedProcess[str]) -> str:
    """Return the last line of what a command said."""
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return printable(said[-1].strip())[:300] if said else f"exit code {done.returncode}"


def _error(done: CompletedProcess[str]) -> str:
    """Return the line in which pip names the fault; hints and boxes stand beneath it."""
    named = [line.strip(" ×╰─>│") for line in done.stderr.splitlines() if "ERROR:" in line]
    return printable(named[0])[:300] if named else _last(done)

"""What all tests share: one thread, no strangers' plugins, a tiny grid that runs in-process."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakes as fake_plugins
import pytest
import torch
from click.testing import CliRunner
from click.testing import Result as Invoked
from fakes import TINY

from dpbench import plugins
from dpbench.cli.main import cli
from dpbench.planning.config import Config, load_config
from dpbench.planning.plan import Options
from dpbench.planning.trials import Request
from dpbench.results import Result
from dpbench.runner.directory import RunDirectory
from dpbench.runner.execute import execute
from dpbench.runner.prepare import Prepared
from dpbench.runner.prepare import prepare as prepare_run
from dpbench.stages.data import load_part
from dpbench.stages.public import load_public_model
from dpbench.stages.references import load_references

TESTS = Path(__file__).parent
#: Where the dpbench lies that these tests import; processes that they start import it too.
UNDER_TEST = Path(plugins.__file__).parents[1]
ENTRY_POINTS = "[dpbench]\n{names}\n"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _hermetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out plugins that happen to be installed beside dpbench."""
    monkeypatch.setenv(plugins.ONLY_VARIABLE, "")


@pytest.fixture
def forget() -> Iterator[Callable[[], None]]:
    """Make the process load plugins and artifacts anew, now and after the test."""

    def clear() -> None:
        plugins.registry.cache_clear()
        load_part.cache_clear()
        load_references.cache_clear()
        load_public_model.cache_clear()

    clear()
    yield clear
    clear()


Distribution = Callable[..., Path]


@pytest.fixture
def distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forget: Callable[[], None]
) -> Distribution:
    """Put a made-up distribution with entry points on the path, and load only such ones."""
    site = tmp_path / "site-packages"
    site.mkdir()
    names: list[str] = []

    def install(name: str, version: str = "1.0", code: str | None = None, **entry: str) -> Path:
        module = name.replace("-", "_")
        if code is not None:
            (site / f"{module}.py").write_text(textwrap.dedent(code))
        info = site / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(METADATA.format(name=name, version=version))
        entry = entry or {"plugin": module}
        lines = "\n".join(f"{key} = {value}" for key, value in entry.items())
        (info / "entry_points.txt").write_text(ENTRY_POINTS.format(names=lines))
        names.append(name)
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.setenv(plugins.ONLY_VARIABLE, ",".join(names))
        forget()
        return site

    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{TESTS}:{UNDER_TEST}")
    return install


@pytest.fixture
def fakes(distribution: Distribution) -> plugins.Registry:
    """The registry with the built-ins and the fakes."""
    distribution("dpbench-fakes", fakes="fakes")
    registry = plugins.registry()
    assert not registry.broken
    return registry


@pytest.fixture
def configure(tmp_path: Path, fakes: plugins.Registry) -> Callable[..., Config]:
    """Write a configuration (the tiny grid and more) and load it."""

    def write(extra: str = "", base: str = TINY) -> Config:
        path = tmp_path / "benchmarks.toml"
        path.write_text(base + textwrap.dedent(extra))
        return load_config(path, fakes)

    return write


Prepare = Callable[..., Prepared]


@pytest.fixture
def prepare(tmp_path: Path, configure: Callable[..., Config]) -> Prepare:
    """Plan the tiny grid under ``tmp_path / "runs"``."""

    def make(extra: str = "", base: str = TINY, fresh: bool = False, **selection: Any) -> Any:
        options = Options(fresh=fresh, controls=False)
        config = configure(extra, base)
        directory = RunDirectory(tmp_path / "runs")
        return prepare_run(config, Request(**selection), directory, options)

    return make


Carry = Callable[..., tuple[list[Result], fake_plugins.InProcess]]


@pytest.fixture
def carry_out(prepare: Prepare, forget: Callable[[], None]) -> Carry:
    """Run the tiny grid in this process; return its results and the executor."""

    def run(
        extra: str = "", dies_on: dict[str, str] | None = None, **more: Any
    ) -> tuple[list[Result], fake_plugins.InProcess]:
        forget()
        prepared = prepare(extra, **more)
        threads = prepared.config.file.limits.threads
        executor = fake_plugins.InProcess.of(prepared.directory, dies_on, threads)
        return execute(prepared, executor), executor

    return run


Run = Callable[..., Invoked]


@pytest.fixture
def dpbench(
    tmp_path: Path,
    fakes: plugins.Registry,
    monkeypatch: pytest.MonkeyPatch,
    forget: Callable[[], None],
) -> Run:
    """Run a verb in a directory with the tiny grid, its jobs in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = Path("benchmarks.toml")

    def run(*arguments: object, extra: str = "", base: str = TINY) -> Invoked:
        if extra or not config.exists():
            config.write_text(base + textwrap.dedent(extra))
        forget()
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    return run

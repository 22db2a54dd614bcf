"""Content-addressed artifacts: atomic, checksummed, no pickle.

An artifact is a directory ``<root>/<stage>/<key>`` with ``meta.json`` and at most
one ``tensors.safetensors``; the former holds a checksum of the latter and one of
itself. It appears by one rename, so it is either whole or not there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError

from dpbench.errors import DpbenchError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Artifact",
    "ArtifactId",
    "CorruptArtifact",
    "Mixed",
    "Store",
    "StoreNotWritable",
    "content_key",
    "read_file",
    "write_json",
]


#: Made once: planning a large grid hashes a hundred thousand descriptions.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


class CorruptArtifact(DpbenchError):
    """An artifact whose bytes are not those that were written."""


class Mixed(DpbenchError):
    """Artifacts that do not belong together: one was made of another than there is now."""

    def __init__(self, artifact: ArtifactId, source: ArtifactId) -> None:
        super().__init__(
            f"{artifact} was made of another {source} than there is now: run the same command "
            "again, which makes it anew"
        )


class StoreNotWritable(DpbenchError):
    """The runs directory refuses to be written to (permissions, full disk)."""


def content_key(description: Any) -> str:
    """Hash a JSON-able description to 32 hex digits; the order of keys is irrelevant."""
    return hashlib.sha256(_CANONICAL.encode(description).encode()).hexdigest()[:32]


class ArtifactId(NamedTuple):
    """Where an artifact lies in the store, whether it is there or not."""

    stage: str
    key: str

    def __str__(self) -> str:
        return f"{self.stage}/{self.key}"

    @property
    def is_plain(self) -> bool:
        """Whether both are names of a folder and lead nowhere else: strangers' rows name them."""
        return all(re.fullmatch(r"[A-Za-z0-9][\w.+-]*", part) for part in self)


@dataclass(frozen=True)
class Artifact:
    """What a stage left: ``meta`` (JSON) and named CPU ``tensors``."""

    meta: dict[str, Any]
    tensors: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Store:
    """Artifacts under one directory; safe for many processes on one file system.

    What is saved remembers which content of ``inputs`` there was: see :meth:`outdated`.
    """

    root: Path
    inputs: tuple[ArtifactId, ...] = field(default=(), compare=False)

    def path(self, stage: str, key: str) -> Path:
        """Return an artifact's directory.

        Raises:
            CorruptArtifact: its name leads out of the store.
        """
        if not ArtifactId(stage, key).is_plain:
            raise CorruptArtifact(f"{stage!r}/{key!r} is no artifact's name")
        return self.root / stage / key

    def has(self, stage: str, key: str) -> bool:
        """Say whether an artifact seems to be there; where nobody may look there is none."""
        try:
            return (self.path(stage, key) / "meta.json").exists()
        except (OSError, CorruptArtifact):
            return False

    def save(self, stage: str, key: str, artifact: Artifact) -> None:
        """Write an artifact; whoever comes second with the same key changes nothing."""
        target = self.path(stage, key)
        scratch = self.root / "tmp" / uuid.uuid4().hex
        try:
            scratch.mkdir(parents=True)
            meta = {**artifact.meta, "made_of": self._contents}
            if artifact.tensors:
                path = scratch / "tensors.safetensors"
                _write_tensors(path, artifact.tensors)
                meta["sha256"] = _sha256(path)
            meta["checksum"] = content_key(json.loads(_dump(meta)))  # as it is read back
            _write(scratch / "meta.json", _dump(meta))
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                scratch.rename(target)
            except OSError:
                if not self.has(stage, key):  # what is there is the wreck of one
                    target.rename(self.root / "tmp" / uuid.uuid4().hex)
                    scratch.rename(target)
        except OSError as error:
            raise StoreNotWritable(
                f"cannot write to {self.root} ({error.strerror or error}): free space, fix its "
                "permissions, or name another directory with --runs"
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def load(self, stage: str, key: str) -> Artifact:
        """Read an artifact and check its bytes.

        Tensors are mapped from the file, copy on write: they take no memory until
        they are read, and processes that read the same artifact share it.

        Raises:
            CorruptArtifact: it is missing, truncated or altered.
        """
        from safetensors.torch import load_file  # torch takes seconds that rows do not need

        with self._reading(stage, key) as directory:
            meta, path = _whole(directory)
            return Artifact(meta, load_file(path) if path else {})

    def meta(self, stage: str, key: str) -> dict[str, Any]:
        """Read and check what :meth:`load` gives as ``meta``, without a look at the tensors.

        Raises:
            CorruptArtifact: it is missing, truncated or altered.
        """
        with self._reading(stage, key) as directory:
            return _meta(directory).given

    def outdated(self, stage: str, key: str) -> ArtifactId | None:
        """Return an input of an artifact that was made again since, and came out otherwise.

        Equal keys do not promise equal bits: another processor, another library
        below torch. Nothing may be made of both the old and the new.

        Raises:
            CorruptArtifact: the artifact is missing, truncated or altered.
        """
        for source, content in self.made_of(stage, key).items():
            if self._content(source) not in (content, None):
                return source
        return None

    def made_of(self, stage: str, key: str) -> dict[ArtifactId, str | None]:
        """Return what there was of each input when an artifact was saved: a hash of its content.

        Raises:
            CorruptArtifact: the artifact is missing, truncated or altered.
        """
        with self._reading(stage, key) as directory:
            made_of = _meta(directory).made_of.items()
            found = {ArtifactId(*name.split("/", 1)): content for name, content in made_of}
            if strange := next((source for source in found if not source.is_plain), None):
                raise ValueError(f"made of {str(strange)!r}, which is no artifact's name")
            return found

    @functools.cached_property
    def _contents(self) -> dict[str, str | None]:
        """What there is of each input, looked up once: none changes while a task runs."""
        return {str(source): self.content(source) for source in self.inputs}

    def _content(self, source: ArtifactId) -> str | None:
        return self._contents[str(source)] if source in self.inputs else self.content(source)

    def content(self, source: ArtifactId) -> str | None:
        """Return a hash of what an artifact holds; ``None`` where it is not there whole."""
        try:
            with self._reading(*source) as directory:
                meta = _meta(directory)
        except CorruptArtifact:
            return None
        return meta.tensors or meta.checksum

    def check(self, stage: str, key: str) -> bool:
        """Say whether an artifact is there and whole; changes nothing."""
        if not self.has(stage, key):
            return False
        try:
            with self._reading(stage, key) as directory:
                _whole(directory)
        except CorruptArtifact:
            return False
        return True

    @contextlib.contextmanager
    def _reading(self, stage: str, key: str) -> Iterator[Path]:
        """Give an artifact's directory; what goes wrong with it is one line."""
        directory = self.path(stage, key)
        try:
            yield directory
        except (
            OSError, ValueError, TypeError, AttributeError, RecursionError, SafetensorError,
        ) as error:  # fmt: skip
            raise CorruptArtifact(
                f"artifact {stage}/{key} is corrupt ({error}): delete {directory} and run again"
            ) from error

    def remove(self, stage: str, key: str) -> None:
        shutil.rmtree(self.path(stage, key), ignore_errors=True)


class _Meta(NamedTuple):
    """What ``meta.json`` says: what was ``given`` to be kept, and what the store added."""

    given: dict[str, Any]
    made_of: dict[str, str | None]
    tensors: str | None
    checksum: str


def _meta(directory: Path) -> _Meta:
    """Return an artifact's meta, checked."""
    meta = json.loads(read_file(directory / "meta.json"))
    checksum = meta.pop("checksum", None)
    if checksum != content_key(meta):
        raise ValueError("checksum of meta.json differs")
    made_of, tensors = meta.pop("made_of", {}), meta.pop("sha256", None)
    return _Meta(meta, made_of, tensors, checksum)


def _whole(directory: Path) -> tuple[dict[str, Any], Path | None]:
    """Return an artifact's meta and the file of its tensors, both checked."""
    meta = _meta(directory)
    if meta.tensors is None:
        return meta.given, None
    path = directory / "tensors.safetensors"
    if _sha256(path) != meta.tensors:
        raise ValueError("checksum of tensors.safetensors differs")
    return meta.given, path


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors of which no two share memory, as safetensors wants them."""
    seen: set[int] = set()
    separate: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.contiguous()
        where = own.untyped_storage().data_ptr()
        separate[name] = own.clone() if where in seen else own
        seen.add(where)
    return separate


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors straight from where they are: a million images are not copied first."""
    from safetensors.torch import save_file

    try:
        save_file(_separate(tensors), path)
    except SafetensorError as error:  # which hides the error of the system in its text
        raise OSError(str(error)) from error
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    if not path.is_file():  # a pipe, say
        raise OSError(f"{path.name} is not a regular file")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_file(path: Path, most: int = 2**26) -> bytes:
    """Return the bytes of a regular file; of anything else a reader might wait for ever.

    Raises:
        OSError: it cannot be read, is something else, or larger than ``most`` bytes.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path.name} is not a regular file")
    if status.st_size > most:
        raise OSError(f"{path.name} is of {status.st_size} bytes, more than {most}")
    return path.read_bytes()


def write_json(path: Path, content: Any) -> None:
    """Replace ``path`` by ``content`` as JSON, atomically; touch it where it holds that already."""
    data = _dump(content)
    try:
        if _touched(path, data):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        _write(scratch, data)
        scratch.replace(path)
    except OSError as error:
        raise StoreNotWritable(
            f"cannot write {path} ({error.strerror or error}): free space or fix permissions"
        ) from error


def _touched(path: Path, data: bytes) -> bool:
    """Touch a file that holds ``data``; say whether it does."""
    try:
        holds = read_file(path) == data
        if holds:
            path.touch()
    except OSError:  # it is not there, or is to be replaced
        return False
    return holds


def _dump(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

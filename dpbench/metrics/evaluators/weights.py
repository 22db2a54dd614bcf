"""Where the Inception weights come from: named file, cache, or release page."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from dpbench.errors import DpbenchError

__all__ = [
    "WEIGHTS_NAME",
    "WEIGHTS_URL",
    "Fetch",
    "WeightsError",
    "download",
    "inception_weights_file",
]

WEIGHTS_NAME = "pt_inception-2015-12-05-6726825d.pth"
WEIGHTS_URL = (
    f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{WEIGHTS_NAME}"
)
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the released file, which carries its first eight digits in its name."""

Fetch = Callable[[str], bytes]


class WeightsError(DpbenchError):
    """The Inception weights are missing, unreachable or not the released ones."""


def download(url: str) -> bytes:
    """Return what ``url`` serves; gives up when nothing arrives for 30 seconds."""
    with urllib.request.urlopen(url, timeout=30) as response:
        data: bytes = response.read()
    return data


def inception_weights_file(
    weights: Path | None, cache: Path, fetch: bool = True, get: Fetch = download
) -> tuple[Path, str]:
    """Return a verified weights file and its SHA-256.

    Looks at ``weights`` if given, else into ``cache``, else fetches into it.

    Raises:
        WeightsError: with the remedy.
    """
    if weights is not None:
        if not weights.is_file():
            raise WeightsError(f"no Inception weights at {weights}: fetch {WEIGHTS_URL}")
        return weights, _verified(weights, "name the released file with --inception-weights PATH")
    cached = cache / WEIGHTS_NAME
    if cached.is_file():
        return cached, _verified(cached, "delete it, and it is fetched again")
    if not fetch:
        raise WeightsError(f"no Inception weights in {cache}: {_by_hand()}")
    try:
        data = get(WEIGHTS_URL)
    except OSError as error:  # URLError and timeouts are OSErrors
        raise WeightsError(
            f"the Inception weights cannot be fetched ({error}): {_by_hand()}"
        ) from error
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != SHA256:
        raise WeightsError(
            f"{WEIGHTS_URL} served something else (SHA-256 {sha256}, not {SHA256}): {_by_hand()}"
        )
    try:
        _write_atomically(cached, data)
    except OSError as error:
        raise WeightsError(f"cannot keep the Inception weights in {cache}: {error}") from error
    return cached, sha256


def _by_hand() -> str:
    return f"fetch {WEIGHTS_URL} elsewhere and pass --inception-weights PATH"


def _verified(path: Path, remedy: str) -> str:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error}") from error
    if sha256 != SHA256:
        raise WeightsError(
            f"{path} is not the released Inception weights (SHA-256 {sha256}, "
            f"not {SHA256}): {remedy}"
        )
    return sha256


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise

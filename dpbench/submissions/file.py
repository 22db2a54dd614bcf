"""A submission: where a third party's package is, what it ran, and what came out."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from dpbench.errors import DpbenchError
from dpbench.results.reading import explain, read_json, to_json
from dpbench.store import write_json

__all__ = ["FOLDER", "Again", "Submission", "Verdict", "read_submission"]

#: Beside a leaderboard's page.
FOLDER = "submissions"
VERDICT = ".verdict.json"
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class BadSubmission(DpbenchError):
    """A file that does not say what a submission has to; names the first fault."""


class _Content(BaseModel):
    """What the TOML file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    distribution: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    repository: Annotated[str, StringConstraints(pattern=r"^[^-\s]\S*$")]
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    subdirectory: Text = "."
    grid: tuple[Text, ...] = Field(min_length=1)
    results: Text


class Again(BaseModel):
    """One cell that was run again; figures are FID, lower is better.

    Attributes:
        submitted: FID by protocol, as submitted.
        again: FID by protocol, this time.
        fault: why it counts as not reproduced; ``None`` where it was.
        exact: all submitted figures came back, the same to six digits.
        absent: submitted figures that did not come back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    trial: str
    submitted: dict[str, float | None]
    again: dict[str, float | None]
    fault: str | None = None
    exact: bool = False
    absent: tuple[str, ...] = ()


class Verdict(BaseModel):
    """What came of running a part of a submission again.

    Attributes:
        status: ``verified``: all cells came out the same; ``reproduced``: with the same ε,
            and an FID that is near; ``not``: some did not, or the package fails
            ``dpbench check``.
        reason: one line, for ``not``; else which figures are not verified, if any.
        of: digest of the submission's file and rows; of others it says nothing.
        cells: what was run again, of ``trials`` that were submitted.
        tolerance: by how much FID was allowed to differ, on average over the cells.
        share, seed: of the choice of ``cells``, which they repeat.
        versions: of dpbench and what it stands on, where it was run again.
        finished: ISO 8601, UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    status: Literal["verified", "reproduced", "not"]
    reason: str | None = None
    of: str
    trials: int
    cells: tuple[Again, ...] = ()
    share: float
    seed: int
    tolerance: float
    versions: dict[str, str]
    finished: str

    @model_validator(mode="after")
    def _stands_on_something(self) -> Self:
        if self.status != "not" and not self.cells:
            raise ValueError(f"{self.status} by no cell that was run again")
        return self


@dataclass(frozen=True)
class Submission:
    """A submission that was read.

    Attributes:
        distribution: the package's name, as ``pip`` knows it.
        named: the repository as the file names it.
        repository: an address that git takes, or an absolute directory.
        commit: all 40 digits: a branch, or a tag, may come to mean other code.
        subdirectory: where in the repository the package is.
        grid: what ``dpbench run --grid`` was given.
        results: the rows, as ``dpbench leaderboard --format csv`` writes them.
        verdict: of these very contents; ``None`` where they were not run again since.
    """

    path: Path
    distribution: str
    named: str
    repository: str
    commit: str
    subdirectory: str
    grid: tuple[str, ...]
    results: Path
    verdict: Verdict | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the hashes of file and rows: no byte of one passes for the other's."""
        parts = (hashlib.sha256(path.read_bytes()).digest() for path in (self.path, self.results))
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def record(self, verdict: Verdict) -> Path:
        """Write ``verdict`` beside the file, and return where."""
        path = _verdict_path(self.path)
        write_json(path, to_json(verdict))
        return path


def read_submission(path: Path) -> Submission:
    """Read a submission and, where there is one, the verdict on it.

    Raises:
        BadSubmission: the file cannot be read, or something in it is missing or wrong.
    """
    try:
        content = _Content.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadSubmission(f"cannot read {path} ({error.strerror}): name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSubmission(f"{path} is not TOML ({error}): mend it") from None
    except ValidationError as error:
        raise BadSubmission(f"{path}: {_remedy(explain(error))}") from None
    results = path.parent / content.results
    if not results.is_file():
        raise BadSubmission(
            f"{path}: there is no {content.results} beside it: write the rows with "
            "`dpbench leaderboard --format csv`"
        )
    repository = content.repository
    if not re.match(r"[a-z+]+://|[^/]+@[^/]+:", repository):
        repository = str((path.parent / repository).resolve())
    found = Submission(
        path=path,
        distribution=content.distribution,
        named=content.repository,
        repository=repository,
        commit=content.commit,
        subdirectory=content.subdirectory,
        grid=content.grid,
        results=results,
    )
    verdict = _read_verdict(path)
    if verdict is None or verdict.of != found.digest:
        return found
    return replace(found, verdict=verdict)


def _remedy(fault: str) -> str:
    """Return a fault with what to do about it."""
    remedies = {
        "commit": "write all 40 hexadecimal digits of the commit",
        "grid": 'write what was run, such as grid = ["*-Mine"]',
        "distribution": "write the package's name, as pip knows it",
        "repository": "write an address that git takes, or a directory",
    }
    name = fault.partition(":")[0].partition(".")[0]
    return f"{fault}; {remedies[name]}" if name in remedies else fault


def _verdict_path(path: Path) -> Path:
    return path.with_name(path.stem + VERDICT)


def _read_verdict(path: Path) -> Verdict | None:
    """Return the verdict beside a file; a damaged one is none."""
    try:
        return Verdict.model_validate(read_json(_verdict_path(path)))
    except (DpbenchError, ValidationError):
        return None

"""What may go from a runs directory: rows that are chosen, and artifacts nothing refers to."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpbench.errors import DpbenchError
from dpbench.results import Result, load_results
from dpbench.runner.directory import RunDirectory
from dpbench.store import ArtifactId, CorruptArtifact, Store

__all__ = ["Leftovers", "half_written", "published_keys", "remove", "select"]

DAY = 86400.0
#: Not artifacts, or made by looking at private data once and for all: a choice made again
#: would be another release.
NEVER = ("tmp", "choice")


@dataclass(frozen=True)
class Leftovers:
    """What would be removed: rows' files, artifacts, and how many bytes they take.

    ``kept`` counts rows that were chosen but stay: a leaderboard refers to them, or a row
    that stays was chosen among them.
    """

    rows: tuple[Path, ...]
    artifacts: tuple[ArtifactId, ...]
    size: int
    kept: int


def select(
    directory: RunDirectory,
    chosen: Callable[[Result], bool],
    *,
    older_than: float | None = None,
    unreachable: bool = False,
    published: frozenset[str] = frozenset(),
) -> Leftovers:
    """Choose rows and the artifacts that no other row stands on.

    Args:
        chosen: whether a row is to go.
        older_than: of those, only rows written more than so many days ago.
        unreachable: also artifacts that no row stands on as it is.
        published: keys of artifacts that a leaderboard refers to: their rows stay.
    """
    root, store = directory.root, directory.store
    results = load_results(root)
    going = [r for r in results if chosen(r) and _old(root, r, older_than)]
    printed = {id(r) for r in going if published.intersection(r.artifacts.values())}
    leaving = [row for row in going if id(row) not in printed]
    gone = {id(r) for r in leaving} - _evidence(results, leaving)
    left = _reached(store, (r for r in results if id(r) not in gone))
    lost = _reached(store, (r for r in results if id(r) in gone)) - left
    if unreachable:
        lost |= {a for a in _all(store) if a not in left and a.key not in published}
    rows = tuple(path for r in results if id(r) in gone and (path := _path(root, r)).exists())
    artifacts = tuple(sorted(a for a in lost if store.path(*a).exists()))
    size = sum(map(_size, [*rows, *(store.path(*artifact) for artifact in artifacts)]))
    return Leftovers(rows, artifacts, size, len(going) - len(gone))


def half_written(directory: RunDirectory) -> int:
    """Count what killed runs were writing: whoever locks the directory removes it."""
    return sum(1 for _ in (directory.store.root / "tmp").glob("*"))


def _evidence(results: Sequence[Result], leaving: Sequence[Result]) -> set[int]:
    """Return which rows tell that others were chosen among them: those stay while the others do.

    Without them a statement would say of the one that is left that nothing was chosen.
    """
    cells: dict[str, list[Result]] = {}
    for row in results:
        if row.privacy is not None:
            cells.setdefault(row.cell_key, []).append(row)
    gone, found = {id(row) for row in leaving}, set[int]()
    for rows in cells.values():
        left = {row.candidate.identity_key for row in rows if id(row) not in gone}
        if left:
            found |= {id(row) for row in rows if row.candidate.identity_key not in left}
    return found


def remove(directory: RunDirectory, leftovers: Leftovers) -> None:
    """Remove what was selected, rows first: a row never stands on what is gone.

    What released generators spent stays noted.

    Raises:
        DirectoryInUse: a run is using the directory.
    """
    with directory.lock():
        for row in leftovers.rows:
            row.unlink(missing_ok=True)
        for artifact in leftovers.artifacts:
            directory.discard(artifact, released=False)


def published_keys(table: Path) -> frozenset[str]:
    """Return the keys of all artifacts that a written ``results.csv`` refers to; none if absent.

    Raises:
        DpbenchError: it cannot be read.
    """
    if not table.exists():
        return frozenset()
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DpbenchError(
            f"{table} cannot be read ({error}), so what it refers to is unknown: mend it, or "
            "clean with --even-published"
        ) from None
    return frozenset(
        value for row in rows for name, value in row.items()
        if name and name.startswith("artifacts.") and value
    )  # fmt: skip


def _path(root: Path, result: Result) -> Path:
    return root / "results" / f"{result.key}.json"


def _old(root: Path, result: Result, days: float | None) -> bool:
    if days is None:
        return True
    path = _path(root, result)
    return path.exists() and time.time() - path.stat().st_mtime > days * DAY


def _reached(store: Store, results: Iterable[Result]) -> set[ArtifactId]:
    """Return the artifacts that rows name, and all that those were made of."""
    found: set[ArtifactId] = set()
    queue = [artifact for result in results for artifact in _named(result)]
    while queue:
        artifact = queue.pop()
        if artifact in found:
            continue
        found.add(artifact)
        try:
            queue += store.made_of(*artifact)
        except CorruptArtifact:
            continue
    return found


def _named(result: Result) -> Iterator[ArtifactId]:
    for name, key in result.artifacts.items():
        yield ArtifactId("score" if name.startswith("score.") else name, key)


def _all(store: Store) -> Iterator[ArtifactId]:
    for path in store.root.glob("*/*"):
        artifact = ArtifactId(path.parent.name, path.name)
        if artifact.stage not in NEVER and artifact.is_plain:
            yield artifact


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

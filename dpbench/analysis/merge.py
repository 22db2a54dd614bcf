"""Results of several machines in one directory."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpbench.analysis.compare import protocol_differences
from dpbench.errors import DpbenchError
from dpbench.leaderboard import load
from dpbench.results import Choice, Result, bring_history, load_results, save_result, united
from dpbench.runner.companies import bring_companies
from dpbench.runner.directory import RELEASES, RunDirectory
from dpbench.store import ArtifactId, Store

__all__ = ["Merged", "merge"]

#: Statuses of rows that tell of a machine, not of a method.
FAILED = ("failed", "skipped")


@dataclass(frozen=True)
class Merged:
    """What came of a merge.

    Attributes:
        added: rows that were not there, or had failed there.
        same: rows that were there with the same figures; others that they bring were added.
        unlike: rows that were there with other figures; those there were kept.
    """

    added: int
    same: int
    unlike: tuple[Result, ...]


def merge(sources: Sequence[Path], target: Path) -> Merged:
    """Copy results, audits, history and artifacts of ``sources`` to ``target``, the first first.

    Raises:
        DpbenchError: protocols of one name differ, a source has no results, or it holds
            releases: whether two releases are one is not for a program to say.
    """
    _require_no_releases([*sources, target])
    boards = [load(source) for source in (*([target] if _has_results(target) else []), *sources)]
    for number, board in enumerate(boards[1:], 1):
        for earlier in boards[:number]:
            if unlike := protocol_differences(earlier.frame, board.frame):
                raise DpbenchError(
                    f"{board.runs} was scored under other protocols than {earlier.runs}: "
                    f"{'; '.join(unlike)}; score both with the same evaluator first"
                )
    directory = RunDirectory(target)
    with directory.lock():
        for source in sources:
            _copy_artifacts(source, directory.store)
            _copy_files(source / "audits", target / "audits")
            bring_companies(source, target)
            bring_history(source, target)
        merged = _add_rows(sources, target)
        for result in _chosen_twice(load_results(target)):
            save_result(target, result.model_copy(update={"choice": Choice()}))
        return merged


def _add_rows(sources: Sequence[Path], target: Path) -> Merged:
    known = {result.key: result for result in load_results(target)}
    added, same, unlike = 0, 0, []
    for source in sources:
        for result in load_results(source):
            there = known.get(result.key)
            if there is None or (there.status in FAILED and result.status not in FAILED):
                added += 1
                kept = result
            elif result.status in FAILED or _agree(there, result):
                same += 1
                kept = united(result, there)
            else:
                unlike.append(result)
                continue
            known[result.key] = kept
            if kept != there:
                save_result(target, kept)
    return Merged(added, same, tuple(unlike))


def _agree(there: Result, result: Result) -> bool:
    """Say whether uniting two rows loses nothing: the figures of both agree and stand together."""
    both = united(result, there).metrics
    return there.status == result.status and both == {**there.metrics, **result.metrics}


def _chosen_twice(results: Iterable[Result]) -> Iterator[Result]:
    """Yield the rows of cells of which several directories chose unlike trials.

    Each was stated before its own scores, but between them whoever sees both chooses.
    """
    cells: dict[str, list[Result]] = {}
    for result in results:
        cells.setdefault(result.cell_key, []).append(result)
    for rows in cells.values():
        if len({row.candidate.identity_key for row in rows if row.choice.chosen}) > 1:
            yield from rows


def _has_results(runs: Path) -> bool:
    return any((runs / "results").glob("*.json"))


def _require_no_releases(sources: Sequence[Path]) -> None:
    for source in sources:
        if (source / RELEASES).exists() or any(map(_is_release, _generators(source))):
            raise DpbenchError(
                f"{source} holds releases (secure mode): what was spent twice adds up, so each "
                "stays in its own directory"
            )


def _generators(source: Path) -> Iterator[Path]:
    return (source / "artifacts" / "generator").glob("*/meta.json")


def _is_release(meta: Path) -> bool:
    """Say whether a generator was learnt with secret noise; a damaged one may have been."""
    try:
        return bool(json.loads(meta.read_text(encoding="utf-8")).get("rng") == "secure")
    except (OSError, ValueError, AttributeError):
        return True


def _copy_artifacts(source: Path, store: Store) -> None:
    """Bring over artifacts that are not there, each by one rename; as links on one disk."""
    for path in sorted((source / "artifacts").glob("*/*")):
        artifact = ArtifactId(path.parent.name, path.name)
        if artifact.stage == "tmp" or not artifact.is_plain:
            continue
        goal = store.path(*artifact)
        if goal.exists():
            continue
        draft = store.root / "tmp" / f"{path.parent.name}-{path.name}"
        shutil.copytree(path, draft, copy_function=_link)
        goal.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            draft.rename(goal)


def _link(source: str, goal: str) -> str:
    try:
        os.link(source, goal)
    except OSError:
        shutil.copy2(source, goal)
    return goal


def _copy_files(source: Path, goal: Path) -> None:
    for path in sorted(source.glob("*.json")):
        if not (goal / path.name).exists():
            goal.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, goal / path.name)

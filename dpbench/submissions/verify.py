"""Run a share of a submission's cells again, and compare what comes out with what was submitted.

Of what the third party's code leaves, only JSON is read here.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import random
import secrets
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dpbench.errors import DpbenchError, printable
from dpbench.leaderboard.candidates import PRIMARY
from dpbench.leaderboard.records import without_apostrophe
from dpbench.leaderboard.rows import flat, record
from dpbench.leaderboard.words import CONTROLS
from dpbench.results import CONTROL, load_results
from dpbench.runner.directory import versions
from dpbench.submissions.environment import Environment, checkout, fresh
from dpbench.submissions.file import Again, Submission, Verdict

__all__ = ["Cell", "read_cells", "verify"]

MakeEnvironment = Callable[[Path, Path, str], Environment]
Row = Mapping[str, Any]
#: By how much FID may differ, as a share of the submitted one, to count as reproduced: in one
#: cell, and on average over many. Another processor rounds otherwise, and trains other public
#: models: one honest cell in ten then differs by over 15% (benchmarks/another_machine.md).
ONE, MANY = 0.5, 0.15
#: Relative difference up to which two figures are the same.
SAME = 1e-6
IDENTITY = ("method", "dataset", "settings", "labels", "noise_multiplier", "delta", "clip", "seed")
METRICS = "metrics."
FID = f"{METRICS}{PRIMARY}"
#: Columns of numbers; figures are, too, and values of axes may be.
NUMBERS = ("epsilon", "noise_multiplier", "delta", "clip", "seed", "epsilon_spent")
#: Columns that a CSV has to have; it may leave out what is empty in all rows.
NEEDED = ("method", "dataset", "epsilon", "clip", "seed", "status", "protocol.name", FID)
PARTS = {"public": "public_model", "extractor": "extractor", "generator": "generator"}


@dataclass(frozen=True)
class Cell:
    """One submitted trial; ``rows`` by protocol."""

    rows: dict[str, Row] = field(default_factory=dict)

    @property
    def any(self) -> Row:
        """One of its rows, for what all share."""
        return next(iter(self.rows.values()))

    @property
    def name(self) -> str:
        """What a reader calls it: ``mnist, ae-grad-Mixture@10, clip 1, seed 0``."""
        row = self.any
        parts = [row["dataset"], f"{row['method']}@{row['epsilon'] or math.inf:g}"]
        parts += [f"{name} {row[name]:g}" for name in ("clip", "seed") if row[name] is not None]
        return ", ".join(parts)

    def command(self, grid: Sequence[str], runs: Path) -> list[str]:
        """Return the arguments of ``dpbench`` that run it, and nothing else, again."""
        row = self.any
        noise = row.get("noise_multiplier")
        target = f"--epsilon={row['epsilon']}" if noise is None else f"--noise-multiplier={noise}"
        axes = {"clip": row["clip"], "dataset": row["dataset"], "labels": row.get("labels")}
        return [
            "run", "--no-controls", "--quiet", f"--runs={runs}", target,
            *(f"--grid={name}" for name in grid),
            f"--method={row['method']}",
            f"--seed={int(row['seed'] or 0)}",
            *(f"--protocol={name}" for name in self.rows),
            *(f"--{name}={value}" for name, value in axes.items() if value is not None),
        ]  # fmt: skip


def read_cells(results: Path) -> list[Cell]:
    """Read submitted trials from a CSV, in its order; controls are left out.

    Raises:
        DpbenchError: it holds no trials.
    """
    try:
        with results.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            missing = [name for name in NEEDED if name not in (table.fieldnames or ())]
            rows = [
                _typed({name: without_apostrophe(value) for name, value in row.items()})
                for row in table
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise DpbenchError(f"cannot read {results} ({error}): write it again") from None
    if missing:
        raise DpbenchError(
            f"{results} has no column {missing[0]}: write it with `dpbench leaderboard "
            "--format csv`"
        )
    _require_plain(rows, results)
    cells = _cells(rows)
    if not cells:
        raise DpbenchError(f"{results} has no trials: write them with `dpbench leaderboard`")
    return list(cells.values())


def verify(
    submission: Submission,
    folder: Path,
    runs: Path,
    *,
    share: float = 0.1,
    seed: int | None = None,
    environment: MakeEnvironment = fresh,
    notice: Callable[[str], None] = lambda _text: None,
) -> Verdict:
    """Install a submission in ``folder``, check it, and run a part of its cells in ``runs``.

    Args:
        share: of the cells; at least one is run.
        seed: of the choice; drawn where not given, so that who submits cannot know it.
        environment: makes one of a package's directory, a new directory, and a name.

    Raises:
        DpbenchError: it cannot be judged: the repository, the commit or the rows cannot be had,
            or the package does not install. A package that fails is judged ``not``.
    """
    cells = read_cells(submission.results)
    notice(f"{submission.repository} at {submission.commit[:12]}")
    package = checkout(submission, folder / "source")
    notice(f"installing {submission.distribution}")
    place = environment(package, folder / "environment", submission.distribution)
    notice(f"dpbench check {submission.distribution}")
    again: list[Again] = []
    fault = _check(place, submission, cells)
    seed = secrets.randbits(32) if seed is None else seed
    if fault is None:
        chosen = choose(cells, share, seed)
        for number, cell in enumerate(chosen, 1):
            notice(f"cell {number} of {len(chosen)}: {cell.name}")
            again.append(_run_again(cell, place, submission.grid, runs))
        fault = next((f"{one.trial}: {one.fault}" for one in again if one.fault), None)
    tolerance = max(MANY, ONE / math.sqrt(max(1, len(again))))
    fault = fault or _bias(again, tolerance)
    absent = ", ".join(dict.fromkeys(name for one in again for name in one.absent))
    exact = all(one.exact for one in again)
    return Verdict(
        status="not" if fault else "verified" if exact else "reproduced",
        reason=fault or (f"not verified: {absent}" if absent else None),
        of=submission.digest,
        trials=len(cells),
        cells=tuple(again),
        share=share,
        seed=seed,
        tolerance=tolerance,
        versions=versions(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def choose(cells: Sequence[Cell], share: float, seed: int) -> list[Cell]:
    """Return a random share of ``cells``, at least one, in their order."""
    count = max(1, math.ceil(share * len(cells)))
    places = random.Random(seed).sample(range(len(cells)), count)
    return [cells[place] for place in sorted(places)]


def _cells(rows: Sequence[Row]) -> dict[tuple[Any, ...], Cell]:
    found: dict[tuple[Any, ...], Cell] = {}
    for row in rows:
        if not str(row["method"]).startswith(CONTROL):
            found.setdefault(_identity(row), Cell()).rows[str(row["protocol.name"])] = row
    return found


def _require_plain(rows: Sequence[Row], results: Path) -> None:
    """Refuse rows that nobody runs again: a second one of a trial, and controls of no such name."""
    seen = set()
    for row in rows:
        method = str(row["method"])
        if method.startswith(CONTROL):
            if method.removeprefix(CONTROL) not in CONTROLS:
                raise DpbenchError(f"{results}: {method} is no control: leave its rows out")
            continue
        place = (_identity(row), row["protocol.name"])
        if place in seen:
            raise DpbenchError(f"{results}: two rows of {Cell({'': row}).name}: leave one out")
        seen.add(place)


def _identity(row: Row) -> tuple[Any, ...]:
    """Return what tells a trial from others; with the noise given, ε is an outcome."""
    epsilon = row["epsilon"] if row.get("noise_multiplier") is None else None
    axes = sorted((k, v) for k, v in row.items() if k.startswith("axes.") and v is not None)
    return (epsilon, *(row.get(name) for name in IDENTITY), *axes)


def _typed(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row's values as numbers, text or nothing, whether of a CSV or of a result."""
    return {str(name): _value(str(name), value) for name, value in row.items()}


def _value(name: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if name in NUMBERS or name.startswith(METRICS):
        return float(value)
    if name.startswith("axes."):
        with contextlib.suppress(ValueError):
            return str(value) if isinstance(value, bool) else float(value)
    return value


def _check(place: Environment, submission: Submission, cells: Sequence[Cell]) -> str | None:
    """Return why the package does not pass; a row of which nothing is its own is an error."""
    done = place.dpbench("check", submission.distribution, "--format=json")
    if done.returncode not in (0, 1):
        return f"dpbench check: {_said(done.stderr)}"
    try:
        plugins = json.loads(done.stdout)
        failed = [f"{p['kind']} {p['plugin']}: {r['check']}: {r['reason']}"
                  for p in plugins for r in p["results"] if r["outcome"] == "failed"]  # fmt: skip
        idle = [f"{p['kind']} {p['plugin']}: no check ran" for p in plugins if not p["ok"]]
        own = {(p["kind"], p["plugin"]) for p in plugins}
    except (ValueError, KeyError, TypeError):
        return f"dpbench check: {_said(done.stderr)}"
    if failed or idle:
        return f"dpbench check: {printable((failed or idle)[0])}"
    for cell in cells:
        if not any((kind, cell.any.get(column)) in own for column, kind in PARTS.items()):
            raise DpbenchError(
                f"{submission.results}: {cell.any['method']} has no part of "
                f"{submission.distribution}: leave out rows of other packages"
            )
    return None


def _bias(again: Sequence[Again], tolerance: float) -> str | None:
    """Return by how much FID comes out otherwise on average, if that is more than chance."""
    pairs = [
        (one.again[name], before)
        for one in again
        for name, before in one.submitted.items()
        if name in one.again
    ]
    ratios = [after / before for after, before in pairs if after and before and after / before > 0]
    average = statistics.geometric_mean(ratios) if ratios else 1.0
    if abs(average - 1) <= tolerance:
        return None
    return (
        f"FID is {average:.2f} of the submitted one on average over {len(again)} cells, "
        f"which chance moves by up to {tolerance:.0%}"
    )


def _run_again(cell: Cell, place: Environment, grid: Sequence[str], runs: Path) -> Again:
    done = place.dpbench(*cell.command(grid, runs))
    if done.returncode not in (0, 1):
        raise DpbenchError(f"cannot run {cell.name} again: {_said(done.stderr)}")
    _, records = flat([record(result, None) for result in load_results(runs)])
    made = _cells([_typed(row) for row in records])
    rows = made[_identity(cell.any)].rows if _identity(cell.any) in made else {}
    fault = next(_faults(cell, rows), None)
    figures = [] if fault else list(_figures(cell, rows))
    absent = dict.fromkeys(name for name, _, after in figures if after is None)
    return Again(
        trial=cell.name,
        submitted={name: row.get(FID) for name, row in cell.rows.items()},
        again={name: row.get(FID) for name, row in rows.items()},
        fault=fault,
        exact=fault is None and all(_close(before, after, SAME) for _, before, after in figures),
        absent=tuple(absent),
    )


def _faults(cell: Cell, rows: Mapping[str, Row]) -> Iterator[str]:
    """Yield in what a cell's rows do not come out as they were submitted."""
    for name, before in cell.rows.items():
        after = rows.get(name)
        if after is None:
            yield f"there is no such trial under protocol {name}: its settings are others by now"
            return
        if after["status"] != before["status"]:
            reason = f" ({after['reason']})" if after.get("reason") else ""
            yield f"status {after['status']}{reason} where {before['status']} was submitted"
        if not _close(before.get("epsilon_spent"), after.get("epsilon_spent"), SAME):
            yield (f"spent ε = {after.get('epsilon_spent')} where "
                   f"{before.get('epsilon_spent')} was submitted")  # fmt: skip
        trust = [row.get("privacy.ledger.trust") for row in (before, after)]
        if None not in trust and trust[0] != trust[1]:
            yield f"its ledger is {trust[1]}, where {trust[0]} was submitted"
        if after.get("privacy.replay.verdict") == "failed":
            yield f"replay failed ({after.get('privacy.replay.reason')})"
        rules = [row.get("protocol.quantisation") for row in (before, after)]
        if None not in rules and rules[0] != rules[1]:
            yield f"scored by other rules: {rules[1]}, where {rules[0]} was submitted"
        if not _close(before.get(FID), after.get(FID), ONE):
            yield f"FID {_figure(after)} where {_figure(before)} was submitted"


def _figures(cell: Cell, rows: Mapping[str, Row]) -> Iterator[tuple[str, float, float | None]]:
    """Yield the name of each submitted figure, what was submitted, and what came out."""
    for protocol, before in cell.rows.items():
        for name, figure in before.items():
            if name.startswith(METRICS) and figure is not None:
                yield name.removeprefix(METRICS), figure, rows[protocol].get(name)


def _close(before: Any, after: Any, tolerance: float) -> bool:
    if before is None or after is None:
        return before is after
    return math.isclose(before, after, rel_tol=0, abs_tol=tolerance * abs(before))


def _figure(row: Row) -> str:
    return "none" if row.get(FID) is None else f"{row[FID]:.4g}"


def _said(stderr: str) -> str:
    lines = stderr.strip().splitlines() or ["it said nothing"]
    return printable(lines[-1].removeprefix("Error: ").strip())[:300]

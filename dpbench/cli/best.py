"""The best so far: which method leads at each epsilon while a run goes on."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

from dpbench.leaderboard.words import number, significant
from dpbench.results import Result
from dpbench.results.files import read_result
from dpbench.results.reading import read_each

__all__ = ["BestSoFar"]

#: Seconds between two looks at the results.
EVERY = 5.0


class BestSoFar:
    """Reads the results that are new since the last look; a glance, not the leaderboard."""

    def __init__(self, runs: Path) -> None:
        self._folder, self._looked = runs / "results", 0.0
        self._seen: dict[Path, float] = {}
        self._best: dict[tuple[str, str], dict[float, tuple[float, str]]] = {}
        self.latest: Result | None = None

    def look(self) -> None:
        """Take in what is new, unless that was done a moment ago."""
        now = time.monotonic()
        if self._looked and now - self._looked < EVERY:
            return
        self._looked = now
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError):  # it may just have been replaced
                changed = path.stat().st_mtime
                if self._seen.get(path) != changed:
                    self._seen[path] = changed
                    for row in read_each([path], read_result)[0]:
                        self._take(row)

    def _take(self, row: Result) -> None:
        fid = row.metrics.get("fid")
        if row.status != "ok" or fid is None or row.is_control:
            return
        self.latest = row
        leaders = self._best.setdefault((row.dataset, row.protocol["name"]), {})
        epsilon = math.inf if row.epsilon is None else row.epsilon
        leaders[epsilon] = min(leaders.get(epsilon, (math.inf, "")), (fid, row.method))

    def lines(self) -> list[str]:
        """Return a line for each data set and protocol, least private first."""
        return [
            f"best so far, {dataset}, {protocol}: "
            + ", ".join(
                f"ε = {significant(epsilon)} {method} FID {number(fid)}"
                for epsilon, (fid, method) in sorted(leaders.items(), reverse=True)
            )
            for (dataset, protocol), leaders in self._best.items()
        ]

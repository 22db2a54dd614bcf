"""What the tasks of a trial printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from dpbench.executors.log import log_path
from dpbench.results import Result

__all__ = ["logs_of"]

UPSTREAM = ("public", "latents")


def logs_of(logs: Path, chosen: Result, results: Iterable[Result]) -> Iterator[Path]:
    """Yield the logs of a trial's tasks that are there, in the order of their stages.

    Trials that train together share a log, which has the name of one of them.
    """
    keys = chosen.artifacts
    company = [
        result.artifacts["generator"]
        for result in results
        if result.generator == chosen.generator
        and result.artifacts.get("latents") == keys.get("latents")
        and "generator" in result.artifacts
    ]
    jobs = [
        *(f"{stage}/{keys[stage]}" for stage in UPSTREAM if stage in keys),
        *(f"generator/{key}" for key in dict.fromkeys([keys.get("generator", ""), *company])),
    ]
    if "features" in keys:
        jobs.append(f"score/{keys['features']}/{chosen.protocol['name']}")
    for job in jobs:
        path = log_path(logs, job)
        yield from sorted({path, *logs.glob(f"{path.stem}-*.txt")} & set(logs.glob("*.txt")))

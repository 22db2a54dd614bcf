"""The default grid: cold, warm, and killed half way and continued; its time and memory.

    python benchmarks/grid.py [--grid all] [--half results|time] [--write FILE]
    python benchmarks/grid.py --grid paper --device cuda --parts cold -- --clip 0.05

Runs ``dpbench run`` as a user does, in a temporary directory, with MNIST from the
user's cache (``--fetch``: with empty caches, so that each fresh run fetches). What
stands after ``--`` goes to ``dpbench run`` as it is. Peak memory is the sum of the
proportional set sizes of all processes of a run, sampled once a second.
The kill is SIGKILL to the whole process group. Linux only.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from common import GIB, PeakWatcher, command, machine, publish, table

from dpbench.leaderboard.words import duration

PARTS = ("cold", "warm", "killed")
#: What the default grid may take on two cores.
MOST_MINUTES, MOST_GIB = 15, 4
#: Minutes a trial of the paper, least and most: "less than 10 minutes", "between 2-3 hours".
PAPER = {"vae": (math.nan, 10.0), "gan": (120.0, 180.0)}
#: Rows of the plan that ``dpbench run`` prints, and the directories of their artifacts.
STAGES = {
    "evaluators": "evaluator",
    "references": "references",
    "public models": "public",
    "latents": "latents",
    "private generators": "generator",
    "scores": "score",
}
_POLL = 0.25

Results = dict[str, dict[str, Any]]
Stamps = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Run:
    """One ``dpbench run``: wall seconds, peak bytes, and what its plan said per stage."""

    killed: bool
    seconds: float
    total: int
    largest: int
    planned: dict[str, int]
    cached: dict[str, int]


def plan_of(output: str) -> tuple[dict[str, int], dict[str, int]]:
    """Read artifacts to compute and artifacts found, by stage, from the plan of a run."""
    planned: dict[str, int] = {}
    cached: dict[str, int] = {}
    for title, todo, there in re.findall(r"│ (\D+?) +│ +(\d+) +│ +(\d+) +│", output):
        if title in STAGES and STAGES[title] not in planned:
            planned[STAGES[title]], cached[STAGES[title]] = int(todo), int(there)
    return planned, cached


def run(
    runs: Path, arguments: Sequence[str], fetch: bool, stop: Callable[[], bool] | None = None
) -> Run:
    """Run ``dpbench run`` to its end, or kill it and all its processes once ``stop`` says so."""
    log = runs.with_suffix(".log")
    environment = {**os.environ, "TMPDIR": str(runs.parent)}  # what a killed run leaves, too
    if fetch:
        environment["XDG_CACHE_HOME"] = str(runs.with_suffix(".cache"))
    program = Path(sys.executable).with_name("dpbench")
    line = [str(program), "run", "--runs", str(runs), *arguments]
    started = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            line, stdout=out, stderr=out, cwd=runs.parent, env=environment, start_new_session=True
        )
        try:
            with PeakWatcher(process.pid) as peak:
                while not _ended(process):
                    if stop is not None and stop():
                        _kill(process)
            seconds = time.monotonic() - started
        finally:  # interrupted: its own session does not hear of that
            if process.poll() is None:
                _kill(process)
    text = log.read_text()
    if process.returncode not in (0, 1, -signal.SIGKILL) or "Traceback" in text:
        raise SystemExit(f"{' '.join(line)} failed:\n{text[-4000:]}")
    killed = process.returncode == -signal.SIGKILL
    return Run(killed, seconds, peak.total, peak.largest, *plan_of(text))


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    family = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(family, timeout=10)


def results_of(runs: Path) -> Results:
    """Read all results by file name; equal names are the same trial or control."""
    paths = sorted((runs / "results").glob("*.json"))
    return {path.name: json.loads(path.read_text()) for path in paths}


def trials_of(results: Results) -> list[dict[str, Any]]:
    """Return the results that are of trials, not of controls."""
    return [result for result in results.values() if not result["method"].startswith("control:")]


def half_of(runs: Path, trials: int) -> Callable[[], bool]:
    """Return a function that says whether half of ``trials`` have their results."""
    seen: Results = {}

    def reached() -> bool:
        for path in (runs / "results").glob("*.json"):
            if path.name not in seen:
                seen[path.name] = json.loads(path.read_text())
        return len(trials_of(seen)) >= trials / 2

    return reached


def after(seconds: float) -> Callable[[], bool]:
    """Return a function that says whether ``seconds`` have passed since now."""
    started = time.monotonic()
    return lambda: time.monotonic() - started >= seconds


def stamps(runs: Path) -> Stamps:
    """Return when each artifact was written, and its inode, by its stage and key."""
    found = (runs / "artifacts").glob("*/*/meta.json")
    return {
        f"{path.parent.parent.name}/{path.parent.name}": (stat.st_mtime_ns, stat.st_ino)
        for path in found
        if (stat := path.stat())
    }


def rewritten(before: Stamps, now: Stamps) -> list[str]:
    """Return the artifacts of ``before`` that were replaced or removed since."""
    return [name for name, stamp in before.items() if now.get(name) != stamp]


def difference(a: Results, b: Results) -> tuple[int, float]:
    """Count rows whose status and figures are all equal; return the largest difference of a FID.

    The difference is relative to the first; infinite where a FID is in one only.
    """
    equal, worst = 0, 0.0
    for name, first in a.items():
        second = b.get(name, {"metrics": {}, "status": None})
        same = (first["status"], first["metrics"]) == (second["status"], second["metrics"])
        equal += same
        fids = [result["metrics"].get("fid") for result in (first, second)]
        if fids[0] is not None and fids[1] is not None:
            worst = max(worst, abs(fids[0] - fids[1]) / max(abs(fids[0]), 1e-12))
        elif fids[0] is not fids[1]:
            worst = math.inf
    return equal, worst


def row(title: str, run: Run) -> tuple[str, ...]:
    """One line of the table of runs."""
    return (
        title,
        duration(run.seconds),
        f"{sum(run.planned.values())}",
        f"{sum(run.cached.values())}",
        f"{run.total / GIB:.2f}",
        f"{run.largest / GIB:.2f}",
    )


def facts(cold: Run, results: Results, default: bool) -> Iterator[str]:
    """Yield what the cold run says: trials per minute, statuses, limits, the paper's time."""
    trials = trials_of(results)
    statuses = Counter(result["status"] for result in trials)
    minutes = cold.seconds / 60
    words = ", ".join(f"{number} {status}" for status, number in statuses.items())
    yield f"- {len(trials)} trials ({words}) and {len(results) - len(trials)} controls"
    yield (
        f"- {len(trials) / minutes:.1f} trials per minute of the cold run, public models, "
        "latents and scores included"
    )
    if default:
        for name, value, most, unit in (
            ("cold run", minutes, MOST_MINUTES, "minutes"),
            ("peak memory", cold.total / GIB, MOST_GIB, "GiB"),
        ):
            verdict = "met" if value <= most else "MISSED"
            yield f"- at most {most} {unit} asked of the {name}: {value:.2f}, {verdict}"
    yield from ("", "## Beside the paper", "")
    yield from beside_the_paper(cold.seconds / len(trials), trials)


def beside_the_paper(seconds: float, trials: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table of the paper's time a trial over ``seconds``, all that one takes here."""
    yield "Tang (2023) reports under 10 minutes for one experiment with the private VaeGM and 2"
    yield "to 3 hours for one that trains a GAN: on another machine, which the paper does not"
    yield "name, and at 48,000 steps. Here a trial is given its equal share of the cold run."
    yield ""
    rows = []
    for name, limits in PAPER.items():
        own = [r["seconds"]["generator"] for r in trials if r["generator"] == name and r["seconds"]]
        if own:
            least, most = (
                "" if math.isnan(value) else f"{value * 60 / seconds:.0f}" for value in limits
            )
            paper = f"{limits[0]:.0f} to {limits[1]:.0f}" if least else f"under {limits[1]:.0f}"
            ratio = f"{least} to {most}" if least else f"under {most}"
            mean = statistics.fmean(own)
            rows.append((name.upper(), paper, f"{seconds:.1f}", ratio, f"{mean:.1f}"))
    heads = ("generator", "paper, min", "here, s", "ratio", "of it private training, s")
    yield from table(heads, rows)


def kill_and_continue(
    folder: Path, options: argparse.Namespace, arguments: Sequence[str], cold: Run, results: Results
) -> Iterator[str]:
    """Kill a fresh run half way and continue it; yield the report."""
    yield from ("", "## Killed and continued", "")
    runs = folder / "killed"
    half = after(cold.seconds / 2)
    where = "when half of the cold run's time had passed"
    if options.half == "results":
        half = half_of(runs, len(trials_of(results)))
        where = "when half of the trials had their results"
    first = run(runs, arguments, options.fetch, half)
    if not first.killed:
        yield "The run ended before it was half done by this measure: nothing was killed."
        return
    before, finished = stamps(runs), len(trials_of(results_of(runs)))
    _say(f"killed after {duration(first.seconds)}")
    second = run(runs, arguments, options.fetch)
    now, again = stamps(runs), results_of(runs)
    there = sum(name.split("/")[0] in STAGES.values() for name in before)
    equal, worst = difference(results, again)
    total = first.seconds + second.seconds
    yield f"SIGKILL to all processes {where}: {finished} of {len(trials_of(results))} trials."
    yield ""
    yield from table(HEADS, [row("until the kill", first), row("continued", second)])
    yield ""
    yield (
        f"- together {duration(total)}, {total / cold.seconds:.2f} of the cold run: what was "
        "being computed at the kill is lost, and the program starts twice"
    )
    yield (
        f"- artifacts at the kill: {there}; found by the continued run: "
        f"{sum(second.cached.values())}; so computed again: {there - sum(second.cached.values())}"
    )
    yield f"- artifacts at the kill that were rewritten or removed: {len(rewritten(before, now))}"
    yield (
        f"- rows equal to the cold run's, figure by figure: {equal} of {len(results)} "
        f"({len(again)} in all); largest relative difference of a FID: {worst:.1e}"
    )


HEADS = ("run", "wall", "to compute", "found", "peak of all, GiB", "largest process, GiB")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def device_of(runs: Path) -> str:
    """Return the device that a run recorded: a GPU's name, or ``cpu``."""
    history = json.loads((runs / "history.json").read_text())
    return str(history[-1]["versions"]["device"])


def report(folder: Path, options: argparse.Namespace) -> Iterator[str]:
    """Carry out the parts asked for; yield the page."""
    arguments = ["--grid", options.grid, "--device", options.device, *options.more]
    if options.configuration:
        arguments += ["--config", str(options.configuration.resolve())]
    runs = folder / "cold"
    cold = run(runs, arguments, options.fetch)
    _say(f"cold: {duration(cold.seconds)}")
    rows, results = [row("cold", cold)], results_of(runs)
    if not trials_of(results):
        raise SystemExit("the grid has no trial")
    if "warm" in options.parts:
        warm = run(runs, arguments, options.fetch)
        _say(f"warm: {duration(warm.seconds)}")
        rows.append(row("warm: the same command again", warm))
    data = "fetched by each fresh run" if options.fetch else "from the user's cache"
    yield from (f"# Grid `{options.grid}`: cold, warm, killed and continued", "")
    yield f"`{command()}` on {machine()}; device {device_of(runs)}. Data {data}."
    yield "*To compute* and *found* count artifacts in the plan that a run prints. *Peak of all*:"
    yield "sum of proportional set sizes of all its processes, sampled every second; *largest"
    yield "process*: its resident set."
    yield ""
    yield from table(HEADS, rows)
    yield ""
    default = options.grid == "all" and not options.more and device_of(runs) == "cpu"
    yield from facts(cold, results, default)
    if "killed" in options.parts:
        yield from kill_and_continue(folder, options, arguments, cold, results)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", default="all", help="a grid, a method, or a glob of methods")
    parser.add_argument("--configuration", type=Path, help="instead of the packaged one")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--fetch", action="store_true", help="use empty caches: fetch the data")
    parser.add_argument("--half", choices=("results", "time"), default="results", help="of what")
    parser.add_argument("--parts", type=_parts, default=PARTS, help=f"of {','.join(PARTS)}")
    parser.add_argument("--write", type=Path, help="write the report to this Markdown file")
    parser.add_argument("more", nargs="*", help="after --: further arguments of dpbench run")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="dpbench-grid-") as folder:
        publish(list(report(Path(folder), options)), options.write)


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(text.split(","))
    if not set(parts) <= set(PARTS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(PARTS)}")
    return parts


if __name__ == "__main__":
    main()

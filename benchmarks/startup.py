"""What is paid before and beside the tensor work: start-up, planning, Python in a step.

    python benchmarks/startup.py [--repeats 7] [--trials 10800] [--steps 100] [--write FILE]

Start-up is wall time of fresh processes in alternating rounds. Planning is that of
the grid ``all`` with as many seeds as make up ``--trials``, against an empty store.
A training step is one of the built-in VAE and GAN with their defaults, on 19,612
latents of size 32: torch's profiler adds up the time inside operators, and
what is left of a step is Python. The profiler slows a step down, inside operators
or outside, so the share lies between two figures: without all of what the profiler
costs, and with it. Python's own profiler then names the functions.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from common import command, machine, numbers, publish, table
from lane_training import (
    REPORT_EVERY,
    Enough,
    latents_like,
    prior_of,
    training_lanes,
    training_run,
)
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from dpbench.generators.gan import GAN
from dpbench.generators.mixture import Mixture
from dpbench.generators.training_lane import LaneGenerator
from dpbench.generators.vae import VAE
from dpbench.planning.config import load_config
from dpbench.planning.plan import Options
from dpbench.planning.planner import make_plan
from dpbench.planning.trials import Request, plan_trials
from dpbench.plugins import registry
from dpbench.stages import DataKeys
from dpbench.store import Store

#: More Python than this in a step is worth a look.
MOST_PYTHON = 0.10
#: What `--help` loads, told by a process that does the same.
LOADED = (
    "import sys; from dpbench.cli.main import cli; cli(['--help'], standalone_mode=False); "
    "print('loaded', 'torch' in sys.modules, len(sys.modules))"
)


def start_up(repeats: int) -> dict[str, float]:
    """Median wall milliseconds of each process, in alternating rounds after one to warm up."""
    program = str(Path(sys.executable).with_name("dpbench"))
    lines = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "dpbench --help": [program, "--help"],
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
    }
    # An installed program has its bytecode; a checkout is to get it in the first round.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    times: dict[str, list[float]] = {name: [] for name in lines}
    for turn in range(repeats + 1):
        for name, line in lines.items():
            started = time.perf_counter()
            subprocess.run(line, check=True, capture_output=True, env=environment)
            if turn:
                times[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def loads_torch() -> tuple[bool, int]:
    """Return whether ``dpbench --help`` loads torch, and how many modules it loads."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], check=True, capture_output=True, text=True
    )
    _, torch_too, modules = done.stdout.splitlines()[-1].split()
    return torch_too == "True", int(modules)


@dataclass(frozen=True)
class Planned:
    """Sizes of a plan, and medians of the seconds that its two halves took."""

    trials: int
    jobs: int
    enumeration: float
    planning: float


def planning(wanted: int, repeats: int) -> Planned:
    """Plan at least ``wanted`` trials of the grid ``all`` over several seeds."""
    config = load_config(None, registry())
    per_seed = len(plan_trials(config, Request(seeds=(0,))))
    seeds = tuple(range(-(-wanted // per_seed)))
    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(repeats):
            started = time.process_time()
            trials = plan_trials(config, Request(seeds=seeds))
            between = time.process_time()
            data = {config.file.dataset: DataKeys("l", "p", "x", "t", (0,))}
            plan = make_plan(config, trials, data, Store(Path(folder)), Options())
            times.append((between - started, time.process_time() - between))
    first, second = (statistics.median(half) for half in zip(*times, strict=True))
    return Planned(len(trials), len(plan.jobs), first, second)


@dataclass
class Stage:
    """Training of a generator's lanes, of which a stretch of steps is looked at."""

    cls: type[LaneGenerator]
    lanes: int
    latents: Tensor
    prior: Mixture
    steps: int

    def follow(
        self, begin: Callable[[], object] = lambda: None, end: Callable[[], object] = lambda: None
    ) -> tuple[float, float]:
        """Call ``begin`` after step 50 and ``end`` ``steps`` later.

        Returns milliseconds a step in between: wall and processor time.
        """
        times: list[tuple[float, float]] = []

        def on_step(step: int) -> None:
            if step == REPORT_EVERY:
                begin()
                times.append((time.perf_counter(), time.process_time()))
            elif step == REPORT_EVERY + self.steps:
                times.append((time.perf_counter(), time.process_time()))
                end()
                raise Enough

        lanes = training_lanes(self.cls, self.lanes, self.latents, self.prior, on_step)
        training_run(self.cls, lanes, self.latents)
        (wall, processor), (wall_after, processor_after) = times
        per_step = 1e3 / self.steps
        return (wall_after - wall) * per_step, (processor_after - processor) * per_step


@dataclass(frozen=True)
class Share:
    """Processor milliseconds of a step: as it is, and under torch's profiler.

    ``inside`` is the share of the profiled step inside operators, ``calls`` how many
    operators a step has.
    """

    plain: float
    profiled: float
    inside: float
    calls: float

    @property
    def outside(self) -> tuple[float, float]:
        """Least and most share of a step that is outside operators."""
        outside = (1 - self.inside) * self.profiled
        least = (outside - max(0.0, self.profiled - self.plain)) / self.plain
        return max(0.0, least), outside / self.profiled


def share_of(stage: Stage) -> Share:
    """Time a stretch of steps without and with torch's profiler."""
    plain = statistics.median(stage.follow()[1] for _ in range(3))
    watch = profile(activities=[ProfilerActivity.CPU])
    wall, processor = stage.follow(watch.start, watch.stop)
    events = watch.key_averages()
    own = sum(event.self_cpu_time_total for event in events) / 1e3 / stage.steps  # from µs
    calls = sum(event.count for event in events) / stage.steps
    return Share(plain, processor, own / wall, calls)


def functions_of(stage: Stage, count: int = 4) -> list[tuple[str, float, float]]:
    """Return the Python functions with most own time: name, calls a step, share of the step.

    Tensor operators called by name are not theirs, but those written as symbols
    (``a * b``, ``x[rows]``) are, so shares are upper bounds.
    """
    watch = cProfile.Profile()
    stage.follow(watch.enable, watch.disable)
    stats = pstats.Stats(watch).stats  # type: ignore[attr-defined]  # no public way to the numbers
    total = sum(own for _, _, own, _, _ in stats.values())
    python = [
        (f"{Path(file).name}:{line} {name}", calls / stage.steps, own / total)
        for (file, line, name), (_, calls, own, _, _) in stats.items()
        if file != "~"  # functions in C
    ]
    return sorted(python, key=lambda entry: -entry[2])[:count]


def start_lines(repeats: int) -> Iterator[str]:
    """Yield the section on start-up."""
    took = start_up(repeats)
    torch_too, modules = loads_torch()
    yield from ("## Start-up", "")
    yield from table(("process", "wall, ms"), [(k, f"{v:.0f}") for k, v in took.items()])
    python, helps, torch_ms = took.values()
    yield ""
    yield (
        f"- `dpbench --help` takes {helps / torch_ms:.3f} of the time of `import torch`, and "
        f"{helps - python:.0f} ms more than Python itself; {modules} modules, torch "
        f"{'AMONG' if torch_too else 'not among'} them; medians of {repeats}"
    )


def plan_lines(wanted: int, repeats: int) -> Iterator[str]:
    """Yield the section on planning."""
    plan = planning(wanted, repeats)
    total = plan.enumeration + plan.planning
    yield from ("", "## Planning", "")
    yield (
        f"- {plan.trials:,} trials, {plan.jobs:,} jobs: {total:.2f} s of processor time "
        f"({plan.enumeration:.2f} s enumerating, {plan.planning:.2f} s planning), "
        f"{total / plan.trials * 1e6:.0f} µs a trial; medians of {repeats}"
    )


def step_lines(lanes: Sequence[int], steps: int) -> Iterator[str]:
    """Yield the section on what of a training step is Python."""
    latents = latents_like(19_612, 32)
    prior = prior_of(latents)
    rows, lines = [], []
    for cls in (VAE, GAN):
        for count in lanes:
            stage = Stage(cls, count, latents, prior, steps)
            share = share_of(stage)
            least, most = share.outside
            rows.append(
                (
                    f"{cls.label}, {count} trials",
                    f"{share.plain:.2f}",
                    f"{share.profiled:.2f}",
                    f"{share.inside:.1%}",
                    f"{share.calls:.0f}",
                    f"{least:.1%} to {most:.1%}",
                )
            )
            if least > MOST_PYTHON:
                lines.append(f"- {rows[-1][0]}: more than {MOST_PYTHON:.0%} is Python")
            names = ", ".join(f"`{n}` {p:.1%} ({c:.0f})" for n, c, p in functions_of(stage))
            lines.append(f"- {rows[-1][0]}: {names}")
    yield from ("", "## Python in a training step", "")
    heads = ("step of", "ms", "ms, profiled", "in operators", "operators", "outside them")
    yield from table(heads, rows)
    yield ""
    yield "Python functions by own time under cProfile: share of a step (calls a step). Operators"
    yield "written as symbols (`a * b`, `x[rows]`) count as the function's own."
    yield from ("", *lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="processes started of each kind")
    parser.add_argument("--trials", type=int, default=10_800, help="to plan, at least")
    parser.add_argument("--lanes", type=numbers, default=[9, 16], help="trials trained at once")
    parser.add_argument("--steps", type=int, default=100, help="profiled, a multiple of 50")
    parser.add_argument("--write", type=Path, help="write the report to this Markdown file")
    options = parser.parse_args(arguments)
    if options.steps < REPORT_EVERY or options.steps % REPORT_EVERY or options.steps > 900:
        parser.error(f"--steps must be a multiple of {REPORT_EVERY}, at most 900")
    torch.set_num_threads(1)
    lines = [
        "# Start-up, planning, and Python in a training step",
        "",
        f"`{command()}` on {machine()}, one thread.",
        "",
        *start_lines(options.repeats),
        *plan_lines(options.trials, 3),
        *step_lines(options.lanes, options.steps),
    ]
    publish(lines, options.write)


if __name__ == "__main__":
    main()

"""How the cost of private training grows: with trials, private images and latent size.

    python benchmarks/scaling.py [--lanes 1,4,16] [--images 1000,10000] [--latent 16,32]
                                 [--steps 100] [--rounds 3] [--write FILE]

Each sweep varies one size and keeps the others at those of the default grid
(19,612 private images, latent 32, expected batch 1,024) with 4 trials. What runs
is the built-in VAE with its defaults, as in the harness: on a CPU at most 16
trials to a batched run, runs one after the other. Times are processor time of
one thread, medians of alternating rounds, all sizes in one process; peak memory
is that of a fresh process per size, above what it holds before it starts.
A size whose memory, by the trend so far, would not fit is left out and said so.
"""

from __future__ import annotations

import argparse
import gc
import math
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import torch
from common import GIB, MIB, command, exponent, last_exponent, machine, numbers, publish, table
from lane_training import (
    BATCH,
    REPORT_EVERY,
    Enough,
    latents_like,
    prior_of,
    training_lanes,
    training_run,
)

from dpbench.generators.training_lane import batched_runs
from dpbench.generators.vae import VAE
from dpbench.privacy.randomness import SeededSource
from dpbench.privacy.sampling import BLOCK_STEPS, InclusionCounter, PoissonSampler

clock = time.process_time
MOST_TOGETHER = 16
#: Largest part of the memory now free that a size may be expected to take.
SPARE = 0.7


@dataclass(frozen=True)
class Case:
    """One size of everything."""

    lanes: int = 4
    records: int = 19_612
    dim: int = 32


@dataclass(frozen=True)
class Costs:
    """Seconds of processor time: of one step of all lanes, and what is paid once.

    Attributes:
        step: one private step of all lanes.
        view: set-up of all lanes' training: the view of every record by its
            component, the first block of batches, empty buffers.
        block: Poisson batches of 32 steps of one lane, drawn and counted.
        prior: release of the mixture of one lane.
    """

    step: float
    view: float
    block: float
    prior: float


@dataclass(frozen=True)
class Sweep:
    """A size that varies, and the case of each of its values."""

    title: str
    name: str
    case: Callable[[int], Case]


SWEEPS = {
    "lanes": Sweep("Trials trained side by side", "trials", lambda n: Case(lanes=n)),
    "images": Sweep("Private images", "images", lambda n: Case(records=n)),
    "latent": Sweep("Latent size", "latent size", lambda n: Case(dim=n)),
}


def costs_of(case: Case, steps: int) -> Costs:
    """Measure one case over ``steps`` steps, a multiple of 50 (0: one step, untimed)."""
    if case.lanes > MOST_TOGETHER:
        steps = min(steps, REPORT_EVERY)  # many runs, all alike
    latents = latents_like(case.records, case.dim)
    started = clock()
    prior = prior_of(latents)
    released = clock() - started
    times: dict[int, float] = {}

    def on_step(step: int) -> None:
        times[step] = clock()
        if step >= steps:
            raise Enough

    step = view = 0.0
    for run in batched_runs(training_lanes(VAE, case.lanes, latents, prior, on_step)):
        started = clock()
        training_run(VAE, run, latents)
        own = (times[steps] - times[0]) / max(steps, 1)
        step += own
        view += times[0] - started - own
    gc.collect()
    return Costs(step, view, block_seconds(case.records), released)


def block_seconds(records: int) -> float:
    """Time of drawing and counting one block of one lane's batches."""
    rate = min(1.0, BATCH / records)
    sampler = PoissonSampler(records, rate, SeededSource(0))
    counter = InclusionCounter(records, [rate])
    repeats = 3
    started = clock()
    for _ in range(repeats):
        block = sampler.block(BLOCK_STEPS)
        for batch in block.records.split(block.counts.tolist()):
            counter.add(batch[None], torch.ones(1, len(batch), dtype=torch.bool))
    return (clock() - started) / repeats


def medians(cases: Sequence[Case], steps: int, rounds: int) -> dict[Case, Costs]:
    """Measure all cases in alternating rounds; return the median of each figure."""
    seen: dict[Case, list[Costs]] = {case: [] for case in cases}
    for turn in range(rounds):
        for case in seen:
            _say(f"round {turn + 1} of {rounds}: {case}")
            seen[case].append(costs_of(case, steps))
    return {
        case: Costs(
            *(
                statistics.median(getattr(costs, name) for costs in several)
                for name in ("step", "view", "block", "prior")
            )
        )
        for case, several in seen.items()
    }


def peak_bytes(case: Case) -> int | None:
    """Peak memory of prior, set-up and one step, above an idle process; None if it dies."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_report_peak, args=(case, there))
    process.start()
    there.close()
    try:
        return int(here.recv())
    except EOFError:
        return None
    finally:
        process.join()


def _report_peak(case: Case, out: Connection) -> None:
    torch.set_num_threads(1)
    costs_of(Case(1, 64, min(64, case.dim)), 0)  # libraries' own buffers
    before = psutil.Process().memory_info().rss
    costs_of(case, 0)
    out.send(max(_high_water() - before, 0))


def _high_water() -> int:
    """Largest resident set of this process so far, in bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def expected_peak(sizes: Sequence[int], peaks: Sequence[int], size: int) -> float:
    """Extrapolate peak memory to ``size`` by the last exponent; 0 with fewer than two sizes."""
    power = last_exponent(sizes, peaks) if len(sizes) > 1 else math.nan
    return 0.0 if math.isnan(power) else peaks[-1] * (size / sizes[-1]) ** power


def peaks_of(sweep: Sweep, sizes: Sequence[int]) -> tuple[dict[int, int], list[str]]:
    """Measure peak memory by size; return it with a line for each size left out."""
    peaks: dict[int, int] = {}
    left_out: list[str] = []
    for size in sizes:
        wanted = expected_peak(list(peaks), list(peaks.values()), size)
        if wanted > SPARE * psutil.virtual_memory().available:
            left_out.append(
                f"- {sweep.name} {size:,}: left out; by the trend it takes {wanted / GIB:.0f} GiB"
            )
            continue
        _say(f"memory of {sweep.case(size)}")
        peak = peak_bytes(sweep.case(size))
        if peak is None:
            left_out.append(f"- {sweep.name} {size:,}: its process died (out of memory?)")
            break
        peaks[size] = peak
    return peaks, left_out


def section(
    sweep: Sweep, costs: dict[Case, Costs], peaks: dict[int, int], left_out: list[str]
) -> Iterator[str]:
    """Yield a sweep's table and its exponents."""
    yield from ("", f"## {sweep.title}", "")
    sizes = list(peaks)
    found = [costs[sweep.case(size)] for size in sizes]
    rows = [
        (
            f"{size:,}",
            f"{c.step * 1e3:.2f}",
            f"{c.step * 1e3 / sweep.case(size).lanes:.2f}",
            f"{c.view:.3f}",
            f"{c.block * 1e3:.2f}",
            f"{c.prior:.3f}",
            f"{peaks[size] / MIB:.0f}",
        )
        for size, c in zip(sizes, found, strict=True)
    ]
    heads = ("step, ms", "step a trial, ms", "set-up, s", "block, ms", "prior, s", "peak, MiB")
    yield from table((sweep.name, *heads), rows)
    yield ""
    figures = {
        "step": [c.step for c in found],
        "set-up": [c.view for c in found],
        "block": [c.block for c in found],
        "prior": [c.prior for c in found],
        "peak memory": [float(peaks[size]) for size in sizes],
    }
    if sweep.name == "trials":
        del figures["block"], figures["prior"]  # those of one trial
    for name, values in figures.items():
        fitted, last = exponent(sizes, values), last_exponent(sizes, values)
        yield f"- {name} ~ {sweep.name}^{fitted:.2f}; between the last two sizes ^{last:.2f}"
    yield from left_out


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lanes", type=numbers, default=[1, 4, 16, 64, 256])
    parser.add_argument("--images", type=numbers, default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--latent", type=numbers, default=[16, 32, 64, 128, 256, 512])
    parser.add_argument("--steps", type=int, default=100, help="timed steps, a multiple of 50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="write the tables to this Markdown file")
    options = parser.parse_args(arguments)
    if options.steps < REPORT_EVERY or options.steps % REPORT_EVERY:
        parser.error(f"--steps must be a multiple of {REPORT_EVERY}")
    torch.set_num_threads(1)
    sizes = {name: getattr(options, name) for name in SWEEPS if getattr(options, name)}
    memory = {name: peaks_of(SWEEPS[name], values) for name, values in sizes.items()}
    cases = [SWEEPS[name].case(size) for name, (peaks, _) in memory.items() for size in peaks]
    costs = medians(cases, options.steps, options.rounds)
    lines = [
        "# How cost grows",
        "",
        f"`{command()}` on {machine()}, one thread.",
        "",
        "The built-in VAE with its defaults, 10 components, expected batch 1,024 (all 1,000 where",
        "there are no more); what does not vary is 4 trials, 19,612 private images, latent 32.",
        "*Step*: one private step of all trials. *Set-up*: every record in its component's units,",
        "for all trials, once. *Block*: 32 Poisson batches of one trial. *Prior*: release of one",
        "trial's mixture. Processor time; peak memory of prior, set-up and a step, above an idle",
        "process.",
    ]
    for name, (peaks, left_out) in memory.items():
        lines += section(SWEEPS[name], costs, peaks, left_out)
    publish(lines, options.write)


if __name__ == "__main__":
    main()

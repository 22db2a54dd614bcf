"""Private training: one step of many lanes against one step of Opacus, side by side.

    python benchmarks/dp_step.py [--lanes 1,4,16,64] [--batch 64,1024]
                                 [--device cuda] [--write FILE]

The network is the paper's VaeGM (latent 100, hidden 64, code 32; tanh). Opacus is
timed as a user would run it: ``PrivacyEngine``, ``DPOptimizer``, Poisson loader,
one trial after the other. Lanes train as the built-in generators train them: on
a CPU in runs of at most 16, on a CUDA device together, as a captured graph.

Times are medians of alternating rounds: processor time on a CPU, so that other
work on the machine matters little, wall time on a CUDA device. Each side runs in a
process of its own: what one has done to the memory allocator would change the
other's time. A ratio of 15 means that a lane's step costs a fifteenth of
Opacus's. The last column compares the private step with the same engine without
clipping and noise on batches of the expected size.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from common import command, machine, numbers, publish, table
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, TensorDataset

from dpbench.api import Context
from dpbench.generators.training_lane import MOST_ON_CPU
from dpbench.generators.vae_lanes import VAEModule, VAENet
from dpbench.leaderboard.words import count_text
from dpbench.privacy.capture import Replay, StepNumbers
from dpbench.privacy.handle import Budget
from dpbench.privacy.lane_nets import Activation
from dpbench.privacy.lane_optim import LaneAdam
from dpbench.privacy.lanes import DPSGDLanes, LaneSchedule
from dpbench.privacy.session import PrivateSession

RECORDS, DIM, SIGMA, CLIP = 19_612, 100, 0.5, 0.1
NET = VAENet(DIM, 32, (64,), Activation("tanh"))
FOREVER = 10**9

Step = Callable[[], object]


def clock(device: torch.device) -> float:
    """Seconds of processor time, or of wall time once a CUDA device has nothing left to do."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def in_runs(
    make: Callable[[torch.Tensor, range, int], Step], latents: torch.Tensor, lanes: int, batch: int
) -> Step:
    """Return a function that takes one step of all lanes, in runs as the generators form them."""
    most = MOST_ON_CPU if latents.device.type == "cpu" else lanes
    starts = range(0, lanes, most)
    runs = [make(latents, range(first, min(first + most, lanes)), batch) for first in starts]
    return lambda: [run() for run in runs]


def lane_step(latents: torch.Tensor, seeds: range, batch: int) -> Step:
    """Return a function that trains a lane per seed by one private step."""
    device, lanes = latents.device, len(seeds)
    contexts = [Context(seed, device) for seed in seeds]
    budget = Budget(10, 1e-6)
    privates = [
        PrivateSession(latents, budget, CLIP, c, noise_seed=c.seed).handle for c in contexts
    ]
    params = NET.initial([c.generator("init") for c in contexts], device)
    schedule = LaneSchedule(batch / RECORDS, FOREVER, CLIP, SIGMA)
    streams, noise = _noise(contexts)
    replay = Replay.on(device, privates, lambda: engine.streams + streams)
    engine = DPSGDLanes(params, privates, [schedule] * lanes, fixed=replay.captures)
    adam, numbers = LaneAdam(params.flat), StepNumbers(device, replay.captures)

    def body() -> None:
        grads = engine.compute(lambda x: NET.traces(params, x, 1.0, noise))
        adam.step(grads.flat, numbers.all("rates"))

    def step() -> None:
        numbers.set("rates", [1e-3] * lanes)
        engine.begin()
        replay.run(engine.key, body)
        engine.end()

    return step


def plain_step(latents: torch.Tensor, seeds: range, batch: int) -> Step:
    """The same without privacy: shuffled batches, plain sums."""
    device, lanes = latents.device, len(seeds)
    contexts = [Context(seed, device) for seed in seeds]
    params = NET.initial([c.generator("init") for c in contexts], device)
    streams, noise = _noise(contexts)
    rng = torch.Generator(device).manual_seed(0)
    replay = Replay.on(device, [], lambda: [rng, *streams])
    adam, numbers = LaneAdam(params.flat), StepNumbers(device, replay.captures)
    grads = params.like()

    def body() -> None:
        picks = torch.randint(RECORDS, (lanes * batch,), generator=rng, device=device)
        x = latents.index_select(0, picks).view(lanes, batch, DIM)
        for trace in NET.traces(params, x, 1.0, noise):
            k = trace.layer
            torch.bmm(trace.inputs.transpose(1, 2), trace.delta, out=grads.weights[k])
            torch.sum(trace.delta, 1, keepdim=True, out=grads.biases[k])
        adam.step(grads.flat.div_(batch), numbers.all("rates"))

    def step() -> None:
        numbers.set("rates", [1e-3] * lanes)
        replay.run((), body)

    return step


def _noise(
    contexts: list[Context],
) -> tuple[list[torch.Generator], Callable[[torch.Tensor], torch.Tensor]]:
    streams = [c.generator("latent-noise", c.device) for c in contexts]

    def draw(out: torch.Tensor) -> torch.Tensor:
        for lane, stream in enumerate(streams):
            out[lane].normal_(generator=stream)
        return out

    return streams, draw


def opacus_step(latents: torch.Tensor, batch: int) -> Step:
    """Return a function that trains one trial by one step of Opacus."""
    device = latents.device
    module = VAEModule(NET, torch.Generator(device).manual_seed(0)).to(device)
    optimizer = torch.optim.Adam(module.parameters(), 1e-3, betas=(0.5, 0.9))
    data = DataLoader(TensorDataset(latents.cpu()), batch_size=batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracked, private, loader = PrivacyEngine().make_private(
            module=module,
            optimizer=optimizer,
            data_loader=data,
            noise_multiplier=SIGMA,
            max_grad_norm=CLIP,
            poisson_sampling=True,
        )
    batches: Iterator[list[torch.Tensor]] = _endless(loader)

    def step() -> None:
        x = next(batches)[0].to(device)
        private.zero_grad(set_to_none=True)
        module.loss(x.requires_grad_(), tracked, 1.0).mean().backward()
        private.step()

    return step


def _endless(loader: DataLoader[tuple[torch.Tensor, ...]]) -> Iterator[list[torch.Tensor]]:
    while True:
        yield from loader  # type: ignore[misc]


class Side:
    """One of the sides, in a process of its own, which takes a few seconds to start."""

    def __init__(self, name: str, lanes: int, batch: int, options: argparse.Namespace) -> None:
        self._pool = ProcessPoolExecutor(
            1,
            multiprocessing.get_context("spawn"),
            initializer=_start,
            initargs=(name, lanes, batch, str(options.device), options.threads),
        )

    def milliseconds(self) -> float:
        """Time a quarter of a second of steps; return milliseconds per step."""
        return self._pool.submit(_measure).result()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


_running: dict[str, Any] = {}


def _start(name: str, lanes: int, batch: int, device: str, threads: int) -> None:
    torch.set_num_threads(threads)
    where = torch.device(device)
    latents = torch.randn(RECORDS, DIM, generator=torch.Generator().manual_seed(0)).to(where)
    if name == "opacus":
        step = opacus_step(latents, batch)
    else:
        step = in_runs(lane_step if name == "lanes" else plain_step, latents, lanes, batch)
    for _ in range(5):
        step()
    started = clock(where)
    step()
    repeats = max(2, int(0.25 / max(clock(where) - started, 1e-5)))
    _running.update(step=step, device=where, repeats=repeats)


def _measure() -> float:
    step, device, repeats = _running["step"], _running["device"], _running["repeats"]
    started = clock(device)
    for _ in range(repeats):
        step()
    return (clock(device) - started) / repeats * 1e3


def medians(
    lanes: int, batch: int, options: argparse.Namespace, rounds: int = 9
) -> dict[str, float]:
    """Time the sides in alternating rounds; return milliseconds per step of each."""
    with contextlib.ExitStack() as stack:
        names = ("opacus", "lanes", "plain")
        sides = {name: stack.enter_context(Side(name, lanes, batch, options)) for name in names}
        times: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name, side in sides.items():
                times[name].append(side.milliseconds())
    return {name: statistics.median(values) for name, values in times.items()}


def rows(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield the table's rows."""
    for batch in options.batch:
        for count in options.lanes:
            ms = medians(count, batch, options)
            row = [
                f"{batch}",
                f"{count}",
                f"{ms['opacus']:.2f}",
                f"{ms['lanes']:.2f}",
                f"{ms['lanes'] / count:.3f}",
                f"{ms['opacus'] * count / ms['lanes']:.1f}",
                f"{ms['lanes'] / ms['plain']:.2f}",
            ]
            print(*row, file=sys.stderr, flush=True)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lanes", type=numbers, default=[1, 4, 16, 64])
    parser.add_argument("--batch", type=numbers, default=[64, 1024])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    where = f"{machine()}, {count_text(options.threads, 'thread')}"
    if options.device.type == "cuda":
        where = f"{torch.cuda.get_device_name(options.device)}; {where}"
    heads = "batch", "lanes", "Opacus, ms", "lanes, ms", "ms per lane", "ratio", "private / plain"
    lines = [
        "# A private step of many lanes against Opacus",
        "",
        f"`{command()}` on {where}.",
        "",
        *table(heads, rows(options)),
        "",
        "- ratio: as many steps of Opacus, one trial after the other, over one step of the lanes",
        "- private / plain: over the same engine without clipping and noise",
    ]
    publish(lines, options.write)


if __name__ == "__main__":
    main()

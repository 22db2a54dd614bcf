"""Seconds of a replay beside those of the training that it checks.

    python benchmarks/replay_cost.py [--write benchmarks/replay_cost.md]

Random latents, 10,000 private ones of 8 dimensions; default hyperparameters.
The training is that of a run: all records, all steps. Fastest of three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from common import command, machine, publish, table

from dpbench import plugins
from dpbench.api import Context, PrivateGenerator
from dpbench.privacy.handle import Budget
from dpbench.privacy.replay import ReplayLane, ReplayVerdict, replay
from dpbench.privacy.session import PrivateSession

RNG = torch.Generator().manual_seed(0)
PRIVATE = torch.randn(10_000, 8, generator=RNG) + 0.3
PUBLIC = torch.randn(4_000, 8, generator=RNG)


def train(cls: type[PrivateGenerator], lanes: list[ReplayLane]) -> None:
    """Train as a run does, without a tape."""
    contexts = [Context(lane.seed) for lane in lanes]
    sessions = [
        PrivateSession(PRIVATE, lane.budget, lane.clip, context, noise_seed=lane.seed + 9)
        for lane, context in zip(lanes, contexts, strict=True)
    ]
    generators = [cls(lane.params, PRIVATE.shape[1]) for lane in lanes]
    cls.fit_lanes(generators, [session.handle for session in sessions], PUBLIC, contexts)


def fastest(task: Callable[[], object]) -> float:
    """Return the seconds of the fastest of three."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def row(name: str, prior: str, epsilons: tuple[float, ...]) -> list[str]:
    """Measure one generator with one lane for each of ``epsilons``."""
    cls = plugins.registry().get("generator", name).cls
    params = cls.Params.model_validate({"prior": prior})
    lanes = [ReplayLane(params, Budget(e, 1e-5), 1.0, 3 + k) for k, e in enumerate(epsilons)]
    fit = fastest(lambda: train(cls, lanes))
    found: list[ReplayVerdict] = []
    check = fastest(lambda: found.append(replay(cls, lanes, PUBLIC, PRIVATE)))
    said = {verdict.verdict for verdict in found}
    targets = ", ".join(f"{e:g}" for e in epsilons)
    return [name, prior, targets, f"{fit:.2f}", f"{check:.2f}", f"{check / fit:.2f}", *said]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    heads = ["generator", "prior", "ε of the lanes", "training, s", "replay, s", "ratio", "verdict"]
    rows = [
        row(name, prior, epsilons)
        for name in ("gan", "vae")
        for prior in ("normal", "mixture")
        for epsilons in ((1.0,), (10.0,), (10.0, 1.0))
    ]
    publish(
        ["# Cost of a replay", "", f"`{command()}`; {machine()}.", "", *table(heads, rows)],
        options.write,
    )


if __name__ == "__main__":
    main()

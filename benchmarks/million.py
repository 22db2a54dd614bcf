"""Watch the memory of a whole run as private images grow to a million.

    python benchmarks/million.py [--images 1000000] [--small 100000] [--workers 2]
                                 [--method ae-enc-VAE] [--inception 240000]
                                 [--gradient 100000] [--write benchmarks/million.md]

Made-up grey images of 28 x 28 go into one .npz file, which ``dpbench run`` reads,
divides, trains on and scores (the default metrics and the leakage attack) in a process
tree of its own: the main process and its workers. Memory is the sum of their proportional set
sizes (pages that processes share count once), looked at four times a second. The
trainings are short: what is measured is what the images cost.

Two more paths are measured by themselves, each in a fresh process, since a million
images would take hours there: reference statistics under features as wide as
Inception's (from a stand-in that costs nothing), and extraction by gradient descent.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import GIB, PeakWatcher, command, machine, publish, table, tree_memory
from torch import Tensor, nn

from dpbench.api import Context, Evaluator
from dpbench.extractors.gradient import GradientExtractor
from dpbench.metrics.views import KEPT, View
from dpbench.public.ae import Autoencoder

SIDE, CLASSES = 28, 10
LABELLING, PUBLIC, TEST = 4000, 4000, 4000
#: What must hold a million images.
LIMIT = 8 * GIB
#: Seconds between two looks at the memory; a look takes some ten milliseconds of processor.
INTERVAL = 0.25
STAGES = ("data", "evaluator", "references", "public", "latents", "generator", "score")

CONFIG = """
dataset = "strokes"
delta = 1e-9
default_protocols = ["attacked"]

[latents]
public_images = 2000

[datasets.strokes]
plugin = "npz"
path = "{path}"

[datasets.strokes.partition]
by = "random"
labelling = {labelling}
public = {public}

[protocols.attacked]
metrics = ["fid", "is", "classes", "kid", "prdc", "leakage"]

[public.ae]
epochs = 2

[extractors.gradient]
steps = 1

[generators.vae]
steps = 100

[generators.gan]
steps = 100

[grids.all]
epsilon = [10]
clip = [0.1, 0.3, 1.0]
"""


def strokes(labels: Tensor, rng: torch.Generator) -> Tensor:
    """Draw a blurred stroke per label, ``uint8`` ``[N, 28, 28]``; its slant is the class."""
    count = len(labels)
    angle = math.pi * labels / CLASSES + 0.1 * torch.randn(count, generator=rng)
    centre = 0.2 * torch.randn(count, 2, generator=rng)
    long = 0.5 + 0.2 * torch.rand(count, generator=rng)
    wide = 0.08 + 0.06 * torch.rand(count, generator=rng)
    axis = torch.linspace(-1, 1, SIDE)
    x = axis[None, None, :] - centre[:, 0, None, None]
    y = axis[None, :, None] - centre[:, 1, None, None]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    along = (x * cos + y * sin) / long[:, None, None]
    across = (y * cos - x * sin) / wide[:, None, None]
    return (255 * torch.exp(-along.square() - across.square())).to(torch.uint8)


def write_images(path: Path, count: int) -> None:
    """Write ``count`` private images, and as many others as the parts beside them take."""
    rng = torch.Generator().manual_seed(0)
    arrays: dict[str, Any] = {}
    for prefix, size in (("", count + LABELLING + PUBLIC), ("test_", TEST)):
        labels = torch.randint(CLASSES, (size,), generator=rng)
        images = np.empty((size, SIDE, SIDE), np.uint8)
        for start in range(0, size, 10_000):
            images[start : start + 10_000] = strokes(labels[start : start + 10_000], rng)
        arrays |= {f"{prefix}images": images, f"{prefix}labels": labels.numpy()}
    np.savez(path, **arrays)


@dataclass(frozen=True)
class Measured:
    """One run: ``images``, ``peak`` bytes, ``seconds``; the same by stage.

    ``stages`` maps each stage, in the order in which they ended, to the peak and
    the time from the end of the one before to its own end.
    """

    images: int
    peak: int
    seconds: float
    stages: dict[str, tuple[int, float]]


def measure_run(images: int, method: str, workers: int) -> Measured:
    """Run one method on ``images`` private images; look at the whole process tree."""
    with tempfile.TemporaryDirectory(prefix="dpbench-million-") as scratch:
        home = Path(scratch)
        write_images(home / "strokes.npz", images)
        config = CONFIG.format(
            path=home / "strokes.npz", labelling=LABELLING, public=PUBLIC / (PUBLIC + images)
        )
        (home / "benchmarks.toml").write_text(config)
        words = [str(Path(sys.executable).with_name("dpbench")), "run", "--grid", method]
        words += ["--workers", str(workers), "--device", "cpu", "--runs", str(home / "runs")]
        started = time.time()
        with (home / "log").open("w") as log:
            process = subprocess.Popen(words, cwd=home, stdout=log, stderr=subprocess.STDOUT)
            seen: list[tuple[float, int]] = []
            while process.poll() is None:
                seen.append((time.time(), tree_memory(process.pid)[0]))
                time.sleep(INTERVAL)
        if process.returncode:
            raise SystemExit((home / "log").read_text())
        stages = by_stage(home / "runs" / "artifacts", started, seen)
        return Measured(images, max(m for _, m in seen), time.time() - started, stages)


def by_stage(
    artifacts: Path, started: float, seen: Sequence[tuple[float, int]]
) -> dict[str, tuple[int, float]]:
    """Cut a run where the last artifact of each stage appeared; it ends with the scores."""
    ends = {
        stage: max(file.stat().st_mtime for file in (artifacts / stage).glob("*/meta.json"))
        for stage in STAGES
    }
    found: dict[str, tuple[int, float]] = {}
    before = started
    for stage in sorted(STAGES, key=lambda stage: ends[stage]):
        within = [memory for at, memory in seen if before <= at <= ends[stage]]
        found[stage] = (max(within, default=0), ends[stage] - before)
        before = ends[stage]
    return found


class Wide(Evaluator):
    """As wide as Inception, at the price of one small product."""

    name = "wide"
    weights_sha256 = "0" * 64
    feature_dim, classes, batch_size = 2048, 1008, 50
    network = nn.Identity()

    def __init__(self) -> None:
        self.weights = torch.randn(64, self.feature_dim, generator=torch.Generator().manual_seed(0))

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = (images.flatten(1)[:, :64].float() @ self.weights).relu()
        return features, features[:, : self.classes]

    def describe(self) -> dict[str, Any]:
        return {}


def wide_references(count: int) -> None:
    """Pass ``count`` images through the path that references take."""
    view = View.sampled(noise(count), Wide())
    assert view.population == count
    assert view.statistics.covariance.shape == (2048, 2048)


def gradient_extraction(count: int) -> None:
    """Extract latents of ``count`` images by one step through an untrained autoencoder."""
    model = Autoencoder(Autoencoder.Params(), (1, SIDE, SIDE)).eval().requires_grad_(False)
    extractor = GradientExtractor(GradientExtractor.Params(steps=1))
    assert len(extractor.extract(model, noise(count), Context(0))) == count


def noise(count: int) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 1, SIDE, SIDE), dtype=torch.uint8, generator=rng)


def measure_alone(work: Callable[[int], None], count: int) -> Measured:
    """Do ``work`` on ``count`` images in a fresh process."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=(count,))
    started = time.time()
    process.start()
    assert process.pid is not None
    with PeakWatcher(process.pid, INTERVAL) as watcher:
        process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} of {count} images ended with {process.exitcode}")
    return Measured(count, watcher.total, time.time() - started, {})


def growth(small: Measured, large: Measured) -> str:
    """Return GiB per further million images."""
    return f"{(large.peak - small.peak) / (large.images - small.images) * 1e6 / GIB:.2f}"


def rows(title: str, pair: Iterable[Measured]) -> list[tuple[str, ...]]:
    small, large = pair
    return [
        (title, f"{m.images:,}", f"{m.peak / GIB:.2f}", f"{m.seconds:.0f}", grown)
        for m, grown in ((small, ""), (large, growth(small, large)))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1_000_000, help="private images")
    parser.add_argument("--small", type=int, default=100_000, help="private images to compare with")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--method", default="ae-enc-VAE")
    parser.add_argument("--inception", type=int, default=240_000, help="wide reference images")
    parser.add_argument("--gradient", type=int, default=100_000, help="images to descend from")
    parser.add_argument("--write", type=Path, help="write the tables to this Markdown file")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    runs = [measure_run(n, asked.method, asked.workers) for n in (asked.small, asked.images)]
    wide = [measure_alone(wide_references, n) for n in (asked.inception // 4, asked.inception)]
    steps = [measure_alone(gradient_extraction, n) for n in (asked.gradient // 4, asked.gradient)]
    largest = runs[-1]
    verdict = "fit" if largest.peak < LIMIT else "do NOT fit"
    heads = ["what", "images", "peak, GiB", "wall, s", "GiB per further million"]
    lines = [
        "# Memory of a million private images",
        "",
        f"`{command()}` on {machine()}.",
        "",
        f"{largest.images:,} private images **{verdict} in {LIMIT // GIB} GiB**, all processes of "
        f"`dpbench run` together: main and {asked.workers} workers. Pages that they share count "
        "once. The images themselves, one byte a pixel, take "
        f"{largest.images * SIDE**2 / GIB:.2f} GiB.",
        "",
        *table(
            heads,
            [
                *rows(f"`dpbench run`, {asked.method}, 3 trials", runs),
                *rows(f"reference statistics, 2,048 features, {KEPT:,} kept", wide),
                *rows("gradient extraction, one step", steps),
            ],
        ),
        "",
        "The same runs by stage, in the order in which they ended: each lasts from the end of the",
        "one before, although some begin earlier.",
        "",
        *table(
            ["ended", "images", "peak, GiB", "s"],
            [
                (stage, f"{run.images:,}", f"{peak / GIB:.2f}", f"{seconds:.0f}")
                for run in runs
                for stage, (peak, seconds) in run.stages.items()
            ],
        ),
    ]
    publish(lines, asked.write)
    if largest.peak >= LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()

"""What trials cost that compute nothing: planning, running, keeping and reading them.

    python benchmarks/scale.py [--plan 1000,10000,100000] [--trials 200,1000]
                               [--rows 100,10000,100000] [--methods 10,1000,5000]
                               [--root DIR] [--write FILE]

Everything real but the computing: a data set of a few hundred tiny images, a generator
that asks its mechanism for one noisy sum, a metric that returns nought; planned by the
planner, run in worker processes, kept in the store, read by ``dpbench leaderboard``. Rows to
read are copies of one that was run, under other names, epsilons, clips and seeds. Times are
processor time, of worker processes too, so that other work on the machine tells little.
With ``--root`` what was run is kept, and a command that was ended goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common import GIB, command, machine, numbers, publish, table

from dpbench.planning.config import Config, load_config
from dpbench.planning.plan import Options
from dpbench.planning.planner import make_plan
from dpbench.planning.trials import Request, plan_trials
from dpbench.plugin_files import use_files
from dpbench.plugins import registry
from dpbench.results import Result, read_results, to_json
from dpbench.results.index import INDEX
from dpbench.runner.data import load_dataset
from dpbench.runner.directory import RunDirectory
from dpbench.runner.execute import execute
from dpbench.runner.executors import make_executor
from dpbench.runner.prepare import prepare
from dpbench.runner.status import Reporter, sizes
from dpbench.stages import DataKeys
from dpbench.store import Store

#: Commands that read what was run; the first makes the index.
READERS = (
    ("leaderboard",),
    ("leaderboard", "--by", "clip"),
    ("status",),
    ("clean", "--grid", "all", "--dry-run"),
)
EPSILONS, CLIPS = (10.0, 1.0), (0.5, 1.0, 2.0, 4.0, 8.0)
PLUGINS = """
import torch
from dpbench import hookimpl
from dpbench.api import (
    Column, Dataset, Extractor, LabelledImages, Metric, Partition, PrivateGenerator, PublicModel,
)


def images(count, seed, classes=(0, 1, 2, 3)):
    rng = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat(count)[:count]
    pixels = torch.randint(0, 60, (count, 1, 16, 16), generator=rng)
    pixels += 40 * labels[:, None, None, None]
    return LabelledImages(pixels.to(torch.uint8), labels)


class Specks(Dataset):
    name = "specks"

    def load(self, cache):
        parts = images(120, 1), images(200, 2, (1, 3)), images(240, 3, (0, 2)), images(80, 4)
        return Partition(*parts, private_classes=(0, 2))


class Mean(PublicModel):
    name = "same"
    provides = frozenset({"encode", "decode"})

    def __init__(self, params, image_shape):
        super().__init__(params, image_shape)
        self.latent_dim = 2
        self.grey = torch.nn.Parameter(torch.zeros(1), requires_grad=False)

    def fit(self, images, context):
        pass

    def encode(self, x):
        return x.flatten(1)[:, :2]

    def decode(self, z):
        return z.mean(1)[:, None, None, None].expand(-1, *self.image_shape).clamp(0, 1)


class Look(Extractor):
    name = "look"
    label = "look"
    requires = frozenset({"encode"})

    def extract(self, model, images, context):
        return model.encode(images.float() / 255)


class Idle(PrivateGenerator):
    name = "idle"
    label = "Idle"
    cost = 1.0

    def fit(self, private, public, context):
        total = private.release_sum(
            lambda z: z, clip=private.clip, noise_multiplier=100.0, name="mean"
        )
        self.mean = total / private.size

    def sample(self, count, rng):
        return torch.randn(count, self.latent_dim, generator=rng) + self.mean

    def state(self):
        return {"mean": self.mean}

    def restore(self, state):
        self.mean = state["mean"]


class Nought(Metric):
    name = "nought"
    columns = {"nought": Column("lower")}

    def compute(self, generated, references, context):
        return {"nought": 0.0}


@hookimpl
def register_datasets(register):
    register(Specks)


@hookimpl
def register_public_models(register):
    register(Mean)


@hookimpl
def register_extractors(register):
    register(Look)


@hookimpl
def register_generators(register):
    register(Idle)


@hookimpl
def register_metrics(register):
    register(Nought)
"""
CONFIG = f"""
packaged = false
dataset = "specks"
delta = 1e-4
default_protocols = ["idle"]

[latents]
public_images = 100
augment = false

[datasets.specks]

[evaluators.domain]
epochs = 1

[protocols.idle]
samples = 64
metrics = ["nought"]

[grids.all]
methods = ["same-look-Idle"]
epsilon = {list(EPSILONS)}
clip = {list(CLIPS)}
"""


@dataclass(frozen=True)
class Place:
    """A directory with the configuration and plugins of trials that do nothing."""

    root: Path

    def config(self) -> Config:
        file = self.root / "benchmarks.toml"
        file.write_text(CONFIG)
        plugin = self.root / "idle.py"
        plugin.write_text(PLUGINS)
        use_files([plugin])
        registry.cache_clear()
        return load_config(file, registry())


def seconds() -> float:
    """Processor time so far, of this process and of all that it started and that ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def request(trials: int) -> Request:
    per_seed = len(EPSILONS) * len(CLIPS)
    return Request(grids=("all",), seeds=tuple(range(-(-trials // per_seed))))


def plan_lines(config: Config, counts: Sequence[int]) -> Iterator[str]:
    yield from ("", "## Planning", "", "Against an empty store.", "")
    data = {"specks": DataKeys.of(load_dataset(config, config.component("datasets", "specks")))}
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            started = seconds()
            trials = plan_trials(config, request(count))
            plan = make_plan(config, trials, data, Store(Path(folder)), Options(controls=False))
            spent = seconds() - started
        rows.append((f"{len(trials):,}", f"{len(plan.jobs):,}", f"{spent:.1f}",
                     f"{1e6 * spent / len(trials):.0f}", f"{_resident():.2f}"))  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    heads = ("trials", "jobs", "seconds", "µs a trial", "peak so far, GiB")
    yield from table(heads, rows)


def _resident() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB


def run_lines(config: Config, root: Path, counts: Sequence[int]) -> Iterator[str]:
    yield from ("", "## Running", "", "With `--executor local`, one worker. *Again*: the same "
                "command when everything is there. The commands with their start.", "")  # fmt: skip
    rows = []
    for count in counts:
        directory = RunDirectory(root / f"runs-{count}")
        first, made = _run(config, directory, count)
        files, stored, kept = _kept(directory)
        read = [f"{_command(directory.root, *line):.1f}" for line in READERS]
        print(f"{made:,} trials run in {first:.1f} s, read in", *read, file=sys.stderr)
        again, _ = _run(config, directory, count)
        rows.append((f"{made:,}", f"{first:.1f}", f"{1e3 * first / made:.1f}",
                     f"{1e3 * again / made:.2f}", f"{files / made:.1f}", f"{stored / made:,.0f}",
                     f"{kept / made:,.0f}", *read))  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    heads = ("trials", "seconds", "ms a trial", "again, ms a trial", "files a trial",
             "artifacts, bytes a trial", "row, bytes",
             *(f"`{' '.join(line)}`, s" for line in READERS))  # fmt: skip
    yield from table(heads, rows)


def _run(config: Config, directory: RunDirectory, count: int) -> tuple[float, int]:
    started = seconds()
    prepared = prepare(config, request(count), directory, Options(controls=False))
    executor = make_executor(config, directory, device="cpu", workers=1)
    report = Reporter(directory.root, "benchmarks/scale.py")
    found = execute(prepared, executor, lambda progress, _job: report(progress))
    spent = seconds() - started
    bad = [result.reason for result in found if result.status not in ("ok", "collapsed")]
    if bad:
        raise SystemExit(f"{len(bad)} trials failed: {bad[0]}")
    return spent, len(found)


def _kept(directory: RunDirectory) -> tuple[int, int, int]:
    """Return how many files there are, and the bytes of artifacts and of rows."""
    files = sum(len(names) for _, _, names in os.walk(directory.root))
    rows = (directory.root / "results").glob("*.json")
    stored = sum(size for *_, size in sizes(directory.root))
    return files, stored, sum(path.stat().st_size for path in rows)


def copies(row: Result, count: int, methods: int) -> Iterator[Result]:
    """Yield ``count`` trials of so many methods, made up from one that was run."""
    rng = random.Random(0)
    seeds = max(2, -(-count // (methods * len(EPSILONS) * len(CLIPS))))
    for clip, epsilon, seed in itertools.product(CLIPS, EPSILONS, range(seeds)):
        for number in range(methods):
            if count == 0:
                return
            count -= 1
            metrics = {"fid": rng.uniform(50, 300), "is": rng.uniform(2, 4)}
            named = {"method": f"same-look-Idle{number:05d}", "epsilon": epsilon, "clip": clip}
            yield row.model_copy(update={**named, "seed": seed, "metrics": metrics})


def read_lines(
    row: Result, root: Path, counts: Sequence[int], several: Sequence[int]
) -> Iterator[str]:
    yield from (
        "", "## Reading", "",
        "*Read*: `read_results` without the index and with it. *Leaderboard*: the command `dpbench "
        "leaderboard`, its start included, with the index.", "",
    )  # fmt: skip
    rows = []
    for count, methods in _pairs(counts, several):
        runs = root / f"rows-{count}-{methods}"
        (runs / "results").mkdir(parents=True)
        for one in copies(row, count, methods):
            text = json.dumps(to_json(one, exclude={"audit"}), indent=1, sort_keys=True) + "\n"
            (runs / "results" / f"{one.key}.json").write_text(text)
        time.sleep(3)  # what was just written is not indexed yet
        without, with_index = _read(runs), _read(runs)
        size = (runs / "results" / INDEX).stat().st_size / count if count >= 200 else 0
        rows.append((f"{count:,}", f"{methods:,}", f"{without:.2f}", f"{with_index:.2f}",
                     f"{size:,.0f}", f"{_command(runs, 'leaderboard'):.2f}"))  # fmt: skip
        print(*rows[-1], file=sys.stderr)
    heads = ("rows", "methods", "read, s", "with index, s", "index, bytes a row", "leaderboard, s")
    yield from table(heads, rows)


def _pairs(counts: Sequence[int], several: Sequence[int]) -> Iterator[tuple[int, int]]:
    for count, methods in itertools.product(counts, several):
        if methods == several[0] or 2 * methods <= count < 100_000:
            yield count, methods


def _read(runs: Path) -> float:
    started = seconds()
    read_results(runs)
    return seconds() - started


def _command(runs: Path, *line: str) -> float:
    program = "from dpbench.cli.main import main; main()"
    started = seconds()
    subprocess.run(
        [sys.executable, "-c", program, *line, "--runs", str(runs)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return seconds() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=numbers, default=[1000, 10_000, 100_000])
    parser.add_argument("--trials", type=numbers, default=[200, 1000])
    parser.add_argument("--rows", type=numbers, default=[100, 10_000, 100_000])
    parser.add_argument("--methods", type=numbers, default=[10, 1000, 5000])
    parser.add_argument("--root", type=Path, metavar="DIR", help="work here, and keep it")
    parser.add_argument("--write", type=Path, metavar="FILE")
    options = parser.parse_args()
    lines = ["# Many trials", "", f"`{command()}` on {machine()}, one thread.", ""]
    lines.append("Trials that compute nothing, in processor time: what the harness itself costs.")
    with tempfile.TemporaryDirectory() as folder:
        place = Place((options.root or Path(folder)).resolve())
        place.root.mkdir(parents=True, exist_ok=True)
        config = place.config()
        lines += plan_lines(config, options.plan)
        lines += run_lines(config, place.root, options.trials)
        row = read_results(place.root / f"runs-{options.trials[0]}").results[0]
        lines += read_lines(row, place.root, options.rows, options.methods)
    publish(lines, options.write)


if __name__ == "__main__":
    main()

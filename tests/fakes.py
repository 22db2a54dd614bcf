"""Tiny plugins of every kind, and an executor without processes.

The module is the entry point of a made-up distribution ``dpbench-fakes``, which
the fixture ``fakes`` puts on the path; worker processes find it there too.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from dpbench import hookimpl
from dpbench.api import (
    Column,
    Context,
    Dataset,
    Evaluator,
    Executor,
    Extractor,
    LabelledImages,
    Metric,
    Outcome,
    Params,
    Partition,
    PrivateGenerator,
    PublicModel,
    Weights,
    Workplace,
    state_sha256,
    to_float,
)
from dpbench.errors import DpbenchError
from dpbench.executors.device import choose_device
from dpbench.executors.worker import execute
from dpbench.metrics.views import References, View
from dpbench.privacy.handle import PrivateLatents
from dpbench.runner.directory import RunDirectory
from dpbench.stages import Task

#: A grid of one method on a few hundred images; tests append to it.
TINY = """
packaged = false
dataset = "tiny"
delta = 1e-4
executor = "in-process"
default_protocols = ["tiny"]

[latents]
public_images = 100
augment = false

[datasets.tiny]
sharpen = false

[evaluators.domain]
epochs = 4

[protocols.tiny]
samples = 64
metrics = ["fid", "brightness"]

[grids.all]
methods = ["linear-look-MEAN"]
epsilon = [10]
clip = [1.0]
"""

SIDE = 16
CLASSES = 4


def make_images(count: int, seed: int = 0, side: int = SIDE) -> LabelledImages:
    """Noisy grey images with a bright bar whose place is the class, as many of each class."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    images = torch.randint(0, 60, (count, 1, side, side), generator=rng)
    rows, height = torch.arange(side), side // CLASSES
    inside = (rows >= height * labels[:, None]) & (rows < height * (labels[:, None] + 1))
    images += 150 * inside[:, None, :, None]
    return LabelledImages(images.to(torch.uint8), labels)


def write_npz(path: Path, count: int = 400, seed: int = 0) -> Path:
    """Write such images as a user's own ``.npz`` file."""
    data = make_images(count, seed)
    np.savez(path, images=data.images[:, 0].numpy(), labels=data.labels.numpy())
    return path


class TinyData(Dataset):
    """A few hundred images; classes 0 and 2 are private."""

    name = "tiny"

    def load(self, cache: Path) -> Partition:
        return Partition(
            labelling=make_images(120, 1),
            public=make_images(200, 2).of_classes((1, 3)),
            private=make_images(240, 3).of_classes((0, 2)),
            test=make_images(80, 4),
            private_classes=(0, 2),
        )


class LinearParams(Params):
    """``latent`` directions; ``fails`` raises instead of fitting."""

    latent: int = 3
    fails: bool = False


class LinearModel(PublicModel):
    """Principal components of public images; encodes and decodes."""

    name = "linear"
    provides = frozenset({"encode", "decode"})
    Params = LinearParams

    def __init__(self, params: LinearParams, image_shape: tuple[int, int, int]) -> None:
        super().__init__(params, image_shape)
        self.latent_dim = params.latent
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        self.centre = nn.Parameter(torch.zeros(pixels), requires_grad=False)
        self.axes = nn.Parameter(torch.zeros(params.latent, pixels), requires_grad=False)

    def fit(self, images: Tensor, context: Context) -> None:
        if self.params.fails:
            raise RuntimeError("the public model broke")
        x = to_float(images).flatten(1)
        self.centre.copy_(x.mean(0))
        self.axes.copy_(torch.linalg.svd(x - self.centre, full_matrices=False)[2][: len(self.axes)])

    def encode(self, x: Tensor) -> Tensor:
        return (x.flatten(1) - self.centre) @ self.axes.T

    def decode(self, z: Tensor) -> Tensor:
        return (z @ self.axes + self.centre).clamp(0, 1).view(-1, *self.image_shape)


class AbleModel(LinearModel):
    """Claims all three capabilities."""

    name = "able"
    provides = frozenset({"encode", "decode", "prior"})


class LookParams(Params):
    """``fault`` is what goes wrong."""

    fault: Literal["none", "raises", "short", "nan"] = "none"


class LookExtractor(Extractor):
    """Encodes, unless told to go wrong."""

    name = "look"
    label = "look"
    requires = frozenset({"encode"})
    Params = LookParams

    def extract(self, model: PublicModel, images: Tensor, context: Context) -> Tensor:
        if self.params.fault == "raises":
            raise RuntimeError("the extractor broke")
        z = model.encode(to_float(images))
        if self.params.fault == "nan":
            z = z * float("nan")
        return z[:-1] if self.params.fault == "short" else z


Fault = Literal[
    "none", "raises", "refuses", "nan", "infinite", "shape", "hangs", "greedy", "dies",
    "silent", "waits", "leaves", "exits", "interrupts", "killed", "forks",
    "leaks", "moody", "shy",
]  # fmt: skip


class MeanParams(Params):
    """``fault`` is what goes wrong for a trial, ``lane`` likewise for one lane of a group.

    ``leaks`` takes the exact mean, ``moody`` does nothing twice, ``shy`` breaks where it is
    replayed. ``flag`` is the file that ``waits`` waits for; ``shift`` is an axis without effect.
    """

    fault: Fault = "none"
    lane: Fault = "none"
    flag: str = ""
    shift: float = 0.0


class MeanGenerator(PrivateGenerator):
    """A unit Gaussian around a noisy mean: one use of the mechanism."""

    name = "mean"
    label = "MEAN"
    Params = MeanParams
    lane_params = frozenset({"lane", "shift"})
    cost = 1.0
    params: MeanParams
    mean: Tensor

    def fit(self, private: PrivateLatents, public: Tensor, context: Context) -> None:
        for fault in (self.params.fault, self.params.lane):
            self._go_wrong(fault)
        if "silent" in (self.params.fault, self.params.lane):
            self.mean = public.mean(0)
            return
        noise = 100.0 if private.budget.private else 0.0
        total = private.release_sum(
            lambda z: z, clip=private.clip, noise_multiplier=noise, name="mean"
        )
        self.mean = total / private.size
        if self.params.fault == "leaks":
            self.mean = private._session.latents.nanmean(0)
        if self.params.fault == "moody":
            self.mean = self.mean + time.perf_counter_ns() % 2**20 / 2**20
        if self.params.fault == "shy" and private._session.tape is not None:
            raise RuntimeError("not while you look")
        if "nan" in (self.params.fault, self.params.lane):
            self.mean = self.mean * float("nan")

    def _go_wrong(self, fault: Fault) -> None:
        if fault == "raises":
            raise RuntimeError("the generator broke\nand says a lot about it")
        if fault == "refuses":
            raise DpbenchError("this generator wants more records: use a larger data set")
        if fault == "hangs":
            time.sleep(3600)
        if fault == "dies":
            os._exit(7)
        if fault == "leaves":
            os._exit(0)
        if fault == "exits":
            raise SystemExit(0)
        if fault == "interrupts":
            raise KeyboardInterrupt
        if fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if fault == "forks":
            subprocess.Popen(["sleep", self.params.flag], start_new_session=True)
        if fault == "greedy":
            hoard = [torch.ones(5 * 2**27)]  # two and a half GiB
            time.sleep(3600 * len(hoard))
        while fault == "waits" and not Path(self.params.flag).exists():
            time.sleep(0.05)

    def sample(self, count: int, rng: torch.Generator) -> Tensor:
        width = self.latent_dim + ("shape" in (self.params.fault, self.params.lane))
        z = torch.randn(count, width, generator=rng)
        z[:, : self.latent_dim] += self.mean
        return z.log() if "infinite" in (self.params.fault, self.params.lane) else z

    def state(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def restore(self, state: dict[str, Tensor]) -> None:
        self.mean = state["mean"]


class BrightnessParams(Params):
    """``fault`` is what goes wrong."""

    fault: Literal["none", "raises", "nan", "columns"] = "none"


class Brightness(Metric):
    """Mean pixel value."""

    name = "brightness"
    Params = BrightnessParams
    columns: ClassVar = {"brightness": Column("none", high=255)}

    def compute(
        self, generated: View, references: References, context: Context
    ) -> dict[str, float]:
        if self.params.fault == "raises":
            raise RuntimeError("the metric broke")
        value = generated.images.float().mean().item()
        if self.params.fault == "nan":
            value = float("nan")
        return {"other" if self.params.fault == "columns" else "brightness": value}


class PixelParams(Params):
    """``side`` of the picture that is left of an image; ``fault`` is what goes wrong."""

    side: int = 4
    fault: Literal["none", "raises", "incomplete"] = "none"


class PixelEvaluator(Evaluator):
    """Small pictures as features, their likeness to each class's mean as logits."""

    name = "pixels"
    Params = PixelParams
    batch_size = 64
    means: Tensor

    def fit(
        self,
        labelling: LabelledImages,
        test: LabelledImages,
        private_classes: tuple[int, ...],
        context: Context,
    ) -> None:
        if self.params.fault == "raises":
            raise RuntimeError("the evaluator broke")
        small = self._small(labelling.images)
        if self.params.fault == "none":
            self._take(torch.stack([small[labelling.labels == c].mean(0) for c in range(CLASSES)]))

    def _small(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(to_float(images), self.params.side).flatten(1)

    def _take(self, means: Tensor) -> None:
        self.means, self.network = means, nn.Identity()
        self.classes, self.feature_dim = means.shape
        self.weights_sha256 = state_sha256({"means": means})

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self._small(images)
        return features, -torch.cdist(features, self.means)

    def describe(self) -> dict[str, Any]:
        return {"network": f"pictures of {self.params.side} x {self.params.side}"}

    def state(self) -> dict[str, Tensor]:
        return {"means": self.means}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._take(state["means"])


class SumEvaluator(Evaluator):
    """Weighted sums of rows; the weights, four bytes each, lie in the cache as ``sum.bin``."""

    name = "sum"
    feature_dim = classes = 2
    batch_size = 64
    network = nn.Identity()
    rows: Tensor

    @classmethod
    def weights(cls, params: Params, given: Path | None, cache: Path) -> Weights:
        path = given or cache / "sum.bin"
        return Weights(path, hashlib.sha256(path.read_bytes()).hexdigest())

    def load(self, weights: Path) -> None:
        data = weights.read_bytes()
        self.rows = torch.frombuffer(bytearray(data), dtype=torch.float32).view(2, SIDE)
        self.weights_sha256 = hashlib.sha256(data).hexdigest()

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = to_float(images).mean((1, 3)) @ self.rows.T
        return features, features

    def describe(self) -> dict[str, Any]:
        return {}


@hookimpl
def register_evaluators(register: Callable[[type[Evaluator]], None]) -> None:
    register(PixelEvaluator)
    register(SumEvaluator)


@hookimpl
def register_datasets(register: Callable[[type[Dataset]], None]) -> None:
    register(TinyData)


@hookimpl
def register_public_models(register: Callable[[type[PublicModel]], None]) -> None:
    register(LinearModel)


@hookimpl
def register_extractors(register: Callable[[type[Extractor]], None]) -> None:
    register(LookExtractor)


@hookimpl
def register_generators(register: Callable[[type[PrivateGenerator]], None]) -> None:
    register(MeanGenerator)


@hookimpl
def register_metrics(register: Callable[[type[Metric]], None]) -> None:
    register(Brightness)


class InProcess(Executor):
    """Runs each task at once, where it is submitted; remembers what it ran.

    ``dies_on`` is an error by stage, in place of running such a task.
    """

    name = "in-process"

    def __init__(self, params: Params, place: Workplace) -> None:
        super().__init__(params, place)
        choose_device(place.device)
        self.dies_on: dict[str, str] = {}
        self.ran: list[tuple[str, Task]] = []
        self._ended: list[Outcome] = []

    def __exit__(self, *exception: object) -> None:
        pass

    @property
    def slots(self) -> int:
        return 1

    def submit(self, job_id: str, task: Task) -> None:
        self.ran.append((job_id, task))
        failures: dict[str, str] = {}
        error: Any = self.dies_on.get(task.stage)
        if error is None:
            failures, error = execute(job_id, task, self.place, "cpu")
        self._ended.append(Outcome(job_id, failures, error, 0.0))

    def wait(self, seconds: float) -> list[Outcome]:
        ended, self._ended = self._ended, []
        return ended

    def progress(self) -> dict[str, float]:
        return {}

    @property
    def stages(self) -> list[str]:
        """The stages of what ran, in order."""
        return [task.stage for _, task in self.ran]

    @classmethod
    def of(
        cls, directory: RunDirectory, dies_on: dict[str, str] | None = None, threads: int = 1
    ) -> Self:
        """Return one for the artifacts of ``directory``."""
        place = Workplace(directory.store.root, directory.logs, threads=threads)
        executor = cls(cls.Params(), place)
        executor.dies_on = dies_on or {}
        return executor


@hookimpl
def register_executors(register: Callable[[type[Executor]], None]) -> None:
    register(InProcess)
